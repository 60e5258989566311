// npx tsx --conditions=@kvant/source scripts/figure-images.ts REPORT.html FIGURE OUT.png [WIDTH]
// A figure of a report page, by its number, as an image for a README: title, legend and plot, without caption and numbers. `row-1`
// is the row of small figures in which figure 1 stands. Needs Chromium.
import { readFileSync, writeFileSync } from "node:fs";
import { chromiumMissing, findChromium, ReportBrowser } from "../packages/report/src/testing/report-browser.ts";

const [report, name, out, width = "900"] = process.argv.slice(2);
if (report === undefined || name === undefined || out === undefined) {
  throw new Error("usage: figure-images.ts REPORT.html FIGURE OUT.png [WIDTH]");
}
const chromium = findChromium();
if (chromium === undefined) throw new Error(chromiumMissing);
const browser = await ReportBrowser.start(chromium);
try {
  const { page } = await browser.open(readFileSync(report, "utf8"), { width: Number(width) });
  const selector = name.startsWith("row-") ? `.figures:has(#figure-${name.slice(4)})` : `#figure-${name}`;
  const figure = await page.$(selector);
  if (figure === null) throw new Error(`${report} has no figure ${name}`);
  await page.addStyleTag({ content: "figure details, figure figcaption { display: none }" });
  writeFileSync(out, await figure.screenshot({ type: "png" }));
} finally {
  await browser.close();
}
