import { embeddedJson, escapeHtml } from "./html.ts";
import type { Figure } from "./page-parts.ts";
import { type Drawing, drawing, type Panel, type Trace } from "./plots/drawing.ts";
import { numbersTable } from "./plots/numbers-table.ts";
import { tableHtml } from "./table-html.ts";

// Heights of a panel in CSS pixels.
const wideHeight = 280;
const timelineHeight = 150;
const smallHeight = 190;
/** What the x axis takes under the last panel of a timeline; the others have none. */
const axisHeight = 38;

/**
 * A figure: title, legend, a place for the script to draw in, caption, and its numbers as a table.
 * @param number counts the page's figures from 1
 */
export function figureHtml({ title, caption = "", plot }: Figure, number: number, isSmall: boolean): string {
  const drawn = drawing(plot);
  const height = isSmall ? smallHeight : drawn.panels.length > 1 ? timelineHeight : wideHeight;
  const hidden = hiddenSentence(drawn);
  const text = [caption, hidden].filter((sentence) => sentence !== "").join(" ");
  return [
    `<figure class="plot" id="figure-${number}" role="group" aria-labelledby="figure-${number}-title">`,
    `<h3 id="figure-${number}-title">${escapeHtml(title)}</h3>`,
    ...drawn.panels.map((panel, i) =>
      panelHtml(panel, title, height + (i > 0 && i === drawn.panels.length - 1 ? axisHeight : 0)),
    ),
    text === "" ? "" : `<figcaption>${escapeHtml(text)}</figcaption>`,
    `<details><summary>Numbers</summary>${tableHtml(numbersTable(plot))}</details>`,
    `<script type="application/json" class="drawing">${embeddedJson(drawn)}</script>`,
    "</figure>",
  ].join("\n");
}

function panelHtml({ y, traces }: Panel, title: string, height: number): string {
  const scale = y.log ? `${y.label} (logarithmic)` : y.label;
  const label = `${title}: ${scale}. The numbers are in the table below.`;
  return [
    `<div class="panel"><div class="axis-label"><span>${escapeHtml(scale)}</span><span class="where"></span></div>`,
    traces.length > 1 ? `<ul class="legend">${traces.map(legendHtml).join("")}</ul>` : "",
    `<div class="canvas" role="img" aria-label="${escapeHtml(label)}" data-height="${height}" style="--height:${height}px">`,
    "<noscript>The plot is drawn by script. Its numbers are in the table below.</noscript></div></div>",
  ].join("");
}

function legendHtml({ name, shape, color, dashed }: Trace): string {
  const swatch = ["swatch", ...(shape === "area" || shape === "points" ? [shape] : []), ...(dashed ? ["dashed"] : [])];
  return [
    `<li><button type="button" aria-pressed="true"><span class="${swatch.join(" ")}" style="--color:var(--series-${color})"></span>`,
    `${escapeHtml(name)}</button> <span class="value"></span></li>`,
  ].join("");
}

function hiddenSentence({ hiddenCount, x, panels }: Drawing): string {
  if (hiddenCount === 0) return "";
  const reason = x.log || panels.some(({ y }) => y.log) ? "0, negative or not finite" : "not finite";
  return hiddenCount === 1
    ? `One value is not drawn: it is ${reason}.`
    : `${hiddenCount.toLocaleString("en")} values are not drawn: they are ${reason}.`;
}
