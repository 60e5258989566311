import { expect, test } from "vitest";
import {
  canvasPixels,
  chromiumMissing,
  findChromium,
  ReportBrowser,
} from "../../../packages/report/src/testing/report-browser.ts";
import { overlayPage } from "./overlay-page.ts";
import { sampleLoadResult } from "./testing/sample-load-result.ts";

const chromium = findChromium();
if (chromium === undefined) console.warn(chromiumMissing);

test.skipIf(chromium === undefined)("every curve of an overlay is drawn in Chromium", async () => {
  const browser = await ReportBrowser.start(chromium!);
  try {
    const page = overlayPage([sampleLoadResult(), sampleLoadResult({ slowness: 2 })]);
    const opened = await browser.open(page);
    const canvases = await canvasPixels(opened.page);
    expect(opened.complaints).toEqual([]);
    expect(canvases).toHaveLength(4);
    for (const { figure, inked, colored } of canvases) {
      expect(colored, figure).toBeGreaterThan(300);
      expect(inked, figure).toBeGreaterThan(colored);
    }
  } finally {
    await browser.close();
  }
});
