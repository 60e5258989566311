import { expect, test } from "vitest";
import { canvasPixels, chromiumMissing, findChromium, ReportBrowser } from "./report-browser.ts";

export interface ExpectedPlots {
  /** Canvases: so many, or at least so many. */
  readonly count?: number;
  readonly fewest?: number;
  /** Of each canvas. */
  readonly fewestColoredPixels: number;
}

/** A test that opens a page in Chromium and looks at every plot; skipped aloud where there is no browser. */
export function testDrawnInChromium(title: string, html: () => string, expected: ExpectedPlots): void {
  const chromium = findChromium();
  if (chromium === undefined) console.warn(chromiumMissing);
  test.skipIf(chromium === undefined)(title, async () => {
    const browser = await ReportBrowser.start(chromium!);
    try {
      const { page, complaints } = await browser.open(html());
      const canvases = await canvasPixels(page);
      expect(complaints).toEqual([]);
      if (expected.count === undefined) expect(canvases.length).toBeGreaterThanOrEqual(expected.fewest ?? 1);
      else expect(canvases).toHaveLength(expected.count);
      for (const { figure, inked, colored } of canvases) {
        expect(colored, figure).toBeGreaterThan(expected.fewestColoredPixels);
        expect(inked, figure).toBeGreaterThan(colored);
      }
    } finally {
      await browser.close();
    }
  });
}
