import { formatNumber } from "./format-number.ts";
import { escapeHtml } from "./html.ts";
import type { Cell, Table } from "./page-parts.ts";
import type { Unit } from "./plots/plot.ts";

/** A table whose columns the page's script makes sortable; without script it is a plain one. */
export function tableHtml({ caption, columns, rows }: Table): string {
  const heads = columns.map(
    ({ title, unit }) => `<th scope="col"${unit === undefined ? "" : numeric}>${escapeHtml(title)}</th>`,
  );
  const lines = rows.map((row) => `<tr>${row.map((cell, i) => cellHtml(cell, columns[i]?.unit, i)).join("")}</tr>`);
  return [
    `<div class="scroll" tabindex="0"><table${rows.length > 1 ? ' class="sortable"' : ""}>`,
    caption === undefined ? "" : `<caption>${escapeHtml(caption)}</caption>`,
    `<thead><tr>${heads.join("")}</tr></thead>`,
    `<tbody>\n${lines.join("\n")}\n</tbody></table></div>`,
  ].join("");
}

const numeric = ' class="number"';

/** Longer text may be broken into lines, unless it names its row. */
const longestUnbroken = 24;

function cellHtml(cell: Cell, unit: Unit | undefined, column: number): string {
  if (typeof cell === "number") return `<td data-value="${brief(cell)}">${escapeHtml(formatNumber(cell, unit))}</td>`;
  const isShort = column === 0 || (cell ?? "").length <= longestUnbroken;
  const attributes = unit !== undefined ? numeric : isShort ? ' class="short"' : "";
  if (cell === null) return `<td${attributes}>–</td>`;
  return `<td${attributes}>${escapeHtml(cell)}</td>`;
}

/** Enough digits to sort by. */
function brief(value: number): number {
  return Number(value.toPrecision(7));
}
