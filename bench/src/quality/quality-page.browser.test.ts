import { expect, test } from "vitest";
import {
  canvasPixels,
  chromiumMissing,
  findChromium,
  ReportBrowser,
} from "../../../packages/report/src/testing/report-browser.ts";
import { qualityPage } from "./quality-page.ts";
import { sampleQualityResult } from "./testing/sample-quality-result.ts";

const chromium = findChromium();
if (chromium === undefined) console.warn(chromiumMissing);

test.skipIf(chromium === undefined)("both Pareto plots are drawn in Chromium", async () => {
  const browser = await ReportBrowser.start(chromium!);
  try {
    const { page, complaints } = await browser.open(qualityPage(sampleQualityResult()));
    const canvases = await canvasPixels(page);
    expect(complaints).toEqual([]);
    expect(canvases).toHaveLength(2);
    for (const { figure, inked, colored } of canvases) {
      expect(colored, figure).toBeGreaterThan(300);
      expect(inked, figure).toBeGreaterThan(colored);
    }
  } finally {
    await browser.close();
  }
});
