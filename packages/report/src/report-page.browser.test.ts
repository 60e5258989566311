import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reportPage } from "./report-page.ts";
import { canvasPixels, chromiumMissing, findChromium, ReportBrowser } from "./testing/report-browser.ts";
import { samplePage } from "./testing/sample-page.ts";

const chromium = findChromium();
if (chromium === undefined) console.warn(chromiumMissing);

describe.skipIf(chromium === undefined)(chromium === undefined ? chromiumMissing : "a report page in Chromium", () => {
  let browser: ReportBrowser;
  const html = reportPage(samplePage());
  beforeAll(async () => {
    browser = await ReportBrowser.start(chromium!);
  });
  afterAll(() => browser?.close());

  test.each([
    { name: "light", dark: false, width: 1200 },
    { name: "dark", dark: true, width: 1200 },
    { name: "narrow", dark: false, width: 380 },
  ])("every plot is drawn and nothing is complained of: $name", async (look) => {
    const { page, complaints } = await browser.open(html, look);
    const canvases = await canvasPixels(page);
    expect(complaints).toEqual([]);
    expect(canvases).toHaveLength(8); // six figures, one of them with three panels
    for (const { figure, inked, colored } of canvases) {
      expect(colored, figure).toBeGreaterThan(500);
      expect(inked, figure).toBeGreaterThan(colored);
    }
    const overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
    expect(overflow).toBeLessThanOrEqual(0);
    await page.close();
  });

  test("a click on a column's head sorts by value, a second one the other way round", async () => {
    const { page } = await browser.open(html);
    const names = `[...document.querySelectorAll("section table")[0].tBodies[0].rows].map((row) => row.cells[0].textContent)`;
    const head = "section thead th:nth-child(2) button";
    await page.click(head);
    expect(await page.evaluate(names)).toEqual(["int4-g128", "int8-channel", "bf16"]);
    await page.click(head);
    expect(await page.evaluate(names)).toEqual(["bf16", "int8-channel", "int4-g128"]);
    await page.close();
  });

  test("a legend's entry hides its series", async () => {
    const { page } = await browser.open(html);
    const [before] = await canvasPixels(page);
    await page.click("#figure-1 .legend button");
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
    const [after] = await canvasPixels(page);
    expect(before!.colored).toBeGreaterThan(500);
    // What is left is grey, but for some pixels of smoothed text.
    expect(after!.colored).toBeLessThan(50);
    await page.close();
  });

  test("plots are redrawn at the paper's width before pages are counted, and at the window's after", async () => {
    const { page, complaints } = await browser.open(html, { dark: true });
    await page.evaluate(
      `for (const event of ["beforeprint", "afterprint"]) addEventListener(event, () => {
        const widths = [...document.querySelectorAll("figure canvas")].map((canvas) => canvas.clientWidth);
        (window.seen ??= {})[event] = [Math.min(...widths), Math.max(...widths)];
      })`,
    );
    const pdf = await page.pdf({ format: "A4" });
    const seen = (await page.evaluate("window.seen")) as Record<string, readonly [number, number]>;
    expect(Buffer.from(pdf.subarray(0, 5)).toString()).toBe("%PDF-");
    expect(seen.beforeprint).toEqual([325, 680]);
    expect(seen.afterprint![1]).toBeGreaterThan(680);
    expect(complaints).toEqual([]);
    await page.close();
  });
});
