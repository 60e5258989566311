import type { Plot, Unit } from "./plots/plot.ts";

/** One figure worth reading at a glance. */
export interface Fact {
  readonly label: string;
  readonly value: string;
  /** A line in small print below. */
  readonly detail?: string;
}

/** Text, a number, or nothing (null), which is shown as a dash. */
export type Cell = string | number | null;

export interface Table {
  readonly caption?: string;
  /** A column with a unit holds numbers and is aligned right. */
  readonly columns: readonly { readonly title: string; readonly unit?: Unit }[];
  /** [rows][columns] */
  readonly rows: readonly (readonly Cell[])[];
}

export interface Figure {
  readonly title: string;
  readonly caption?: string;
  readonly plot: Plot;
}

/** What a section is made of, in reading order. */
export type Part =
  | { readonly kind: "paragraph"; readonly text: string }
  | { readonly kind: "list"; readonly items: readonly string[] }
  | { readonly kind: "code"; readonly text: string }
  | { readonly kind: "facts"; readonly facts: readonly Fact[] }
  | ({ readonly kind: "table" } & Table)
  | ({ readonly kind: "figure" } & Figure)
  /** Small multiples: two or three beside one another. */
  | { readonly kind: "figures"; readonly figures: readonly Figure[] }
  /** Folded away until it is asked for. */
  | { readonly kind: "details"; readonly summary: string; readonly parts: readonly Part[] };

export interface Section {
  readonly title: string;
  readonly parts: readonly Part[];
}

export interface ReportPage {
  readonly title: string;
  readonly subtitle?: string;
  readonly facts?: readonly Fact[];
  readonly sections: readonly Section[];
  /** A line at the end: what wrote the page, and when. */
  readonly footer?: string;
}
