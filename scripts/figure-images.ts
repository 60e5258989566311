// npx tsx --conditions=@kvant/source scripts/figure-images.ts REPORT.html FIGURE-NUMBER OUT.png [WIDTH]
// A figure of a report page as an image, for a README: its title, legend and plot, without caption and numbers. Needs Chromium.
import { readFileSync, writeFileSync } from "node:fs";
import { chromiumMissing, findChromium, ReportBrowser } from "../packages/report/src/testing/report-browser.ts";

const [report, number, out, width = "900"] = process.argv.slice(2);
if (report === undefined || number === undefined || out === undefined) {
  throw new Error("usage: figure-images.ts REPORT.html FIGURE-NUMBER OUT.png [WIDTH]");
}
const chromium = findChromium();
if (chromium === undefined) throw new Error(chromiumMissing);
const browser = await ReportBrowser.start(chromium);
try {
  const { page } = await browser.open(readFileSync(report, "utf8"), { width: Number(width) });
  const figure = await page.$(`#figure-${number}`);
  if (figure === null) throw new Error(`${report} has no figure ${number}`);
  await page.addStyleTag({ content: "figure details, figure figcaption { display: none }" });
  writeFileSync(out, await figure.screenshot({ type: "png" }));
} finally {
  await browser.close();
}
