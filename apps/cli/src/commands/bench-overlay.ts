import { overlayPage, readLoadResult, replaceTextFile } from "@kvant/bench";
import { requireWritable, writeAsked } from "../output-files.ts";

export interface BenchOverlayFlags {
  readonly html: string;
  readonly title?: string;
}

/** Draws the sweeps of several results of `kvant bench serve` over one another. */
export function benchOverlay(files: readonly string[], { html, title }: BenchOverlayFlags): void {
  requireWritable([html]);
  writeAsked(html, (path) => replaceTextFile(path, overlayPage(files.map(readLoadResult), title)));
}
