import { figureHtml } from "./figure-html.ts";
import { pageScript, pageStyle } from "./generated/browser-assets.ts";
import { escapeHtml } from "./html.ts";
import type { Fact, Part, ReportPage, Section } from "./page-parts.ts";
import { tableHtml } from "./table-html.ts";

// The page forbids itself to load anything: it must look the same on a machine without a network in ten years.
const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/** Fewer sections are seen at a glance. */
const fewestListedSections = 4;

/**
 * One HTML file that holds everything that it shows: text, tables, plots with their data, style and script. All text is
 * escaped.
 * @throws KvantError INVALID_ARGUMENT if a plot's columns do not fit together
 */
export function reportPage({ title, subtitle, facts = [], sections, footer }: ReportPage): string {
  const numbering = figureNumbers();
  return [
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    `<title>${escapeHtml(title)}</title>\n<link rel="icon" href="data:,">\n<style>\n${pageStyle}\n</style>\n</head>\n<body>`,
    `<header>\n<h1>${escapeHtml(title)}</h1>`,
    subtitle === undefined ? "" : `<p class="subtitle">${escapeHtml(subtitle)}</p>`,
    facts.length === 0 ? "" : factsHtml(facts, "tiles"),
    sections.length < fewestListedSections ? "" : contentsHtml(sections),
    "</header>\n<main>",
    ...sections.map((section, index) => sectionHtml(section, index, numbering)),
    "</main>",
    footer === undefined ? "" : `<footer>${escapeHtml(footer)}</footer>`,
    `<script>\n${pageScript}\n</script>\n</body>\n</html>\n`,
  ].join("\n");
}

type NextNumber = () => number;

function figureNumbers(): NextNumber {
  let number = 0;
  return () => ++number;
}

function contentsHtml(sections: readonly Section[]): string {
  const links = sections.map(({ title }, index) => `<li><a href="#section-${index + 1}">${escapeHtml(title)}</a></li>`);
  return `<nav aria-label="Contents"><ul>${links.join("")}</ul></nav>`;
}

function sectionHtml({ title, parts }: Section, index: number, next: NextNumber): string {
  const body = parts.map((part) => partHtml(part, next)).join("\n");
  return `<section id="section-${index + 1}">\n<h2>${escapeHtml(title)}</h2>\n${body}\n</section>`;
}

function partHtml(part: Part, next: NextNumber): string {
  switch (part.kind) {
    case "paragraph":
      return `<p>${escapeHtml(part.text)}</p>`;
    case "list":
      return `<ul class="items">${part.items.map((item) => `<li>${escapeHtml(item)}</li>`).join("")}</ul>`;
    case "code":
      return `<pre>${escapeHtml(part.text)}</pre>`;
    case "facts":
      return factsHtml(part.facts, "facts");
    case "table":
      return tableHtml(part);
    case "figure":
      return figureHtml(part, next(), false);
    case "figures":
      return `<div class="figures">\n${part.figures.map((figure) => figureHtml(figure, next(), true)).join("\n")}\n</div>`;
    case "details": {
      const body = part.parts.map((inner) => partHtml(inner, next)).join("\n");
      return `<details><summary>${escapeHtml(part.summary)}</summary>\n${body}\n</details>`;
    }
    default:
      return part satisfies never;
  }
}

function factsHtml(facts: readonly Fact[], look: "tiles" | "facts"): string {
  const items = facts.map(({ label, value, detail }) => {
    const small = detail === undefined ? "" : `<dd class="detail">${escapeHtml(detail)}</dd>`;
    return `<div><dt>${escapeHtml(label)}</dt><dd>${escapeHtml(value)}</dd>${small}</div>`;
  });
  return `<dl class="${look}">${items.join("")}</dl>`;
}
