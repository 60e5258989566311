// Writes the script and the style sheet of report pages to src/generated, or to the folder given: browser/*.ts bundled with
// uPlot, so that a page needs nothing from anywhere. A test runs it into a temporary folder and compares.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const home = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const target = resolve(process.argv[2] ?? join(home, "src/generated"));
const uplot = dirname(require.resolve("uplot/package.json"));

const common = {
  absWorkingDir: home,
  bundle: true,
  minify: true,
  write: false,
  charset: "utf8",
  legalComments: "none", // uPlot's license stands in full in the banner
};
const license = readFileSync(join(uplot, "LICENSE"), "utf8").trim();
const script = await build({
  ...common,
  entryPoints: ["browser/main.ts"],
  inject: ["browser/pixel-ratio.ts"],
  format: "iife",
  target: "es2022",
  banner: { js: `/* Includes uPlot.\n${license}\n*/` },
});
const style = await build({ ...common, entryPoints: ["browser/page.css"], target: "chrome120" });

mkdirSync(target, { recursive: true });
writeFileSync(
  join(target, "browser-assets.ts"),
  [
    "// Written by scripts/generate-browser-assets.mjs.",
    "",
    `export const pageScript: string = ${literal(script)};`,
    "",
    `export const pageStyle: string = ${literal(style)};`,
    "",
  ].join("\n"),
);

/** A template literal: one form that no formatter rewrites. */
function literal({ outputFiles: [file] }) {
  return `\`${file.text.trim().replace(/[\\`]|\$\{/g, "\\$&")}\``;
}
