import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer, { type Browser, type Page } from "puppeteer-core";

const places = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/snap/bin/chromium",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:/Program Files/Google/Chrome/Application/chrome.exe",
];

/** The path of an installed Chromium or Chrome: what `KVANT_CHROMIUM` names (nothing: none is used), else the usual places. */
export function findChromium(): string | undefined {
  const named = process.env.KVANT_CHROMIUM;
  if (named === undefined) return places.find(existsSync);
  return named === "" ? undefined : named;
}

/** Why browser tests are skipped where there is no browser. */
export const chromiumMissing = "no Chromium on this machine (KVANT_CHROMIUM may name one), so no plot was looked at";

/** What a canvas shows. */
export interface CanvasPixels {
  readonly figure: string;
  /** Pixels that are not transparent: axes, grid, text, data. */
  readonly inked: number;
  /** Pixels with a hue: data alone, unless it is grey. */
  readonly colored: number;
}

/** Report pages in a headless browser, which is one process for all of them. */
export class ReportBrowser {
  readonly #browser: Browser;
  readonly #folder = mkdtempSync(join(tmpdir(), "kvant-report-"));

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(executablePath: string): Promise<ReportBrowser> {
    // Containers have no user namespaces for the sandbox, and the pages are our own.
    const args = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"];
    return new ReportBrowser(await puppeteer.launch({ executablePath, args, headless: true }));
  }

  /** Opens a page and waits until its script has drawn; complaints of the browser gather in `complaints`. */
  async open(html: string, { width = 1200, dark = false } = {}): Promise<{ page: Page; complaints: string[] }> {
    const page = await this.#browser.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => {
      if (!/^(file|data):/.test(request.url())) complaints.push(`asks for ${request.url()}`);
    });
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }]);
    const path = join(this.#folder, "report.html");
    writeFileSync(path, html);
    await page.goto(pathToFileURL(path).href, { waitUntil: "load" });
    await page.waitForSelector("html[data-drawn]", { timeout: 30_000 });
    // uPlot draws in a microtask, sizes settle in a frame.
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
    return { page, complaints };
  }

  async close(): Promise<void> {
    await this.#browser.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** The pixels of every canvas of a page, in document order. */
export async function canvasPixels(page: Page): Promise<readonly CanvasPixels[]> {
  return (await page.evaluate(countPixels)) as readonly CanvasPixels[];
}

// Runs in the browser; text, because the types of this file know no document.
const countPixels = `[...document.querySelectorAll("figure canvas")].map((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let inked = 0;
  let colored = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] === 0) continue;
    inked++;
    const [r, g, b] = data.subarray(i, i + 3);
    if (Math.max(r, g, b) - Math.min(r, g, b) > 40) colored++;
  }
  return { figure: canvas.closest("figure").id, inked, colored };
})`;
