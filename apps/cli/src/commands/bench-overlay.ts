import { overlayPage, readLoadResult, replaceTextFile } from "@kvant/bench";
import { requireWritable } from "../output-files.ts";
import { say } from "../print.ts";

export interface BenchOverlayFlags {
  readonly html: string;
  readonly title?: string;
}

/** Draws the sweeps of several results of `kvant bench serve` over one another. */
export function benchOverlay(files: readonly string[], { html, title }: BenchOverlayFlags): void {
  requireWritable([html]);
  replaceTextFile(html, overlayPage(files.map(readLoadResult), title));
  say(`wrote ${html}`);
}
