import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { colorCount } from "./plots/drawing.ts";

test("the committed script and style are what browser/ makes", () => {
  const script = fileURLToPath(new URL("../scripts/generate-browser-assets.mjs", import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "kvant-browser-assets-"));
  try {
    execFileSync(process.execPath, [script, folder]);
    const fresh = readFileSync(join(folder, "browser-assets.ts"), "utf8");
    const committed = readFileSync(new URL("generated/browser-assets.ts", import.meta.url), "utf8");
    expect(committed === fresh, "run npm run generate in packages/report").toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

// WCAG 2.2: 1.4.3 asks 4.5 of text, 1.4.11 asks 3 of graphics.
const textContrast = 4.5;
const graphicsContrast = 3;

test("texts and series stand out from the paper, in light and in dark", () => {
  const style = readFileSync(new URL("../browser/page.css", import.meta.url), "utf8");
  const palettes = [...style.matchAll(/:root \{([^}]*)\}/g)].map(
    ([, body]) => new Map([...body!.matchAll(/--([\w-]+): (#\w{6});/g)].map(([, name, color]) => [name!, color!])),
  );
  expect(palettes).toHaveLength(2);
  for (const palette of palettes) {
    const contrastOf = (name: string): number => contrast(palette.get(name)!, palette.get("paper")!);
    for (const name of ["ink", "soft-ink", "accent", "plot-text"]) {
      expect(contrastOf(name), name).toBeGreaterThanOrEqual(textContrast);
    }
    for (const index of [...Array(colorCount).keys(), "muted"]) {
      expect(contrastOf(`series-${index}`), `series-${index}`).toBeGreaterThanOrEqual(graphicsContrast);
    }
  }
});

/** WCAG's contrast ratio, 1 to 21, of two colours as `#rrggbb`. */
function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((left, right) => left - right);
  return (high! + 0.05) / (low! + 0.05);
}

function luminance(color: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const channel = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}
