import { expect, test } from "vitest";
import {
  canvasPixels,
  chromiumMissing,
  findChromium,
  ReportBrowser,
} from "../../../packages/report/src/testing/report-browser.ts";
import { quantizationPage } from "./quantization-page.ts";
import { sampleQuality, sampleQuantizationReport } from "./testing/sample-quantization-report.ts";

const chromium = findChromium();
if (chromium === undefined) console.warn(chromiumMissing);

test.skipIf(chromium === undefined)("every plot of a quantization's page is drawn in Chromium", async () => {
  const browser = await ReportBrowser.start(chromium!);
  try {
    const { page, complaints } = await browser.open(quantizationPage(sampleQuantizationReport(), sampleQuality));
    const canvases = await canvasPixels(page);
    expect(complaints).toEqual([]);
    expect(canvases.length).toBeGreaterThan(30);
    for (const { figure, inked, colored } of canvases) {
      expect(colored, figure).toBeGreaterThan(500);
      expect(inked, figure).toBeGreaterThan(colored);
    }
  } finally {
    await browser.close();
  }
});
