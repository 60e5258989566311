import { type Cell, formatNumber, type Table, type Unit } from "@kvant/report";

/** Header first; all cells are text. */
export type TextTable = readonly (readonly string[])[];

export interface Column<Row> {
  readonly title: string;
  /** Absent for text. */
  readonly unit?: Unit;
  /** null where the row has nothing to say. */
  readonly cell: (row: Row) => Cell;
}

/** A column in which no row has anything to say is left out. */
export function tableOf<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): Table {
  const shown = columns.filter(({ cell }) => rows.some((row) => cell(row) !== null));
  return {
    columns: shown.map(({ title, unit }) => ({ title, ...(unit === undefined ? {} : { unit }) })),
    rows: rows.map((row) => shown.map(({ cell }) => cell(row))),
  };
}

/** The table as text, for a terminal or Markdown: seconds are written as milliseconds, which the header then says. */
export function textTable({ columns, rows }: Table): TextTable {
  return [
    columns.map(({ title, unit }) => (unit === "seconds" ? `${title} ms` : unit === "share" ? `${title} %` : title)),
    ...rows.map((row) => row.map((cell, i) => textCell(cell, columns[i]!.unit))),
  ];
}

function textCell(cell: Cell, unit: Unit | undefined): string {
  if (cell === null) return "-";
  if (typeof cell === "string") return cell;
  if (unit === "seconds") return milliseconds(cell);
  if (unit === "share") return formatNumber(100 * cell, "number", 3);
  return formatNumber(cell, unit ?? "number");
}

/** Without a unit: three digits, and at least hundredths of a millisecond. */
export function milliseconds(seconds: number): string {
  const value = 1000 * seconds;
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}
