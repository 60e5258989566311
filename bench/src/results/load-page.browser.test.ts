import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  canvasPixels,
  chromiumMissing,
  findChromium,
  ReportBrowser,
} from "../../../packages/report/src/testing/report-browser.ts";
import { loadPage } from "./load-page.ts";
import { sampleLoadResult } from "./testing/sample-load-result.ts";

const chromium = findChromium();
if (chromium === undefined) console.warn(chromiumMissing);

describe.skipIf(chromium === undefined)(chromium === undefined ? chromiumMissing : "a load's page in Chromium", () => {
  let browser: ReportBrowser;
  beforeAll(async () => {
    browser = await ReportBrowser.start(chromium!);
  });
  afterAll(() => browser?.close());

  test.each([
    // Per level of load five panels over time (of a closed loop with its queue), three distributions.
    { name: "a sweep", streams: [1, 4, 16, 64], dark: false, width: 1200, fewest: 4 + 4 + 3 + 4 * 4 },
    { name: "a sweep in the dark", streams: [1, 64], dark: true, width: 1200, fewest: 4 + 4 + 3 + 2 * 4 },
    { name: "one level on a narrow screen", streams: [64], dark: false, width: 380, fewest: 3 + 5 },
  ])("every plot is drawn and nothing is complained of: $name", async ({ streams, fewest, ...look }) => {
    const { page, complaints } = await browser.open(loadPage(sampleLoadResult({ streams })), look);
    await page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true");
    await page.evaluate("new Promise((done) => setTimeout(done, 200))");
    const canvases = await canvasPixels(page);
    expect(complaints).toEqual([]);
    expect(canvases.length).toBeGreaterThanOrEqual(fewest);
    for (const { figure, inked, colored } of canvases) {
      expect(colored, figure).toBeGreaterThan(100);
      expect(inked, figure).toBeGreaterThan(colored);
    }
    const overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
    expect(overflow).toBeLessThanOrEqual(0);
    await page.close();
  });
});
