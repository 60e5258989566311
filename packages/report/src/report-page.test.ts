import { expect, test } from "vitest";
import type { ReportPage } from "./page-parts.ts";
import { reportPage } from "./report-page.ts";
import { samplePage } from "./testing/sample-page.ts";

const hostile = `</script><script>alert("1")</script><b title='x'>&amp;`;

test("all text is escaped, wherever it stands", () => {
  const page: ReportPage = {
    ...{ title: hostile, subtitle: hostile, footer: hostile },
    facts: [{ label: hostile, value: hostile, detail: hostile }],
    sections: [
      {
        title: hostile,
        parts: [
          { kind: "paragraph", text: hostile },
          { kind: "list", items: [hostile] },
          { kind: "code", text: hostile },
          { kind: "facts", facts: [{ label: hostile, value: hostile }] },
          { kind: "table", caption: hostile, columns: [{ title: hostile }], rows: [[hostile]] },
          { kind: "details", summary: hostile, parts: [{ kind: "paragraph", text: hostile }] },
          {
            ...{ kind: "figure", title: hostile, caption: hostile },
            plot: {
              kind: "scatter",
              x: { label: hostile },
              y: { label: hostile },
              series: [{ name: hostile, points: [{ x: 1, y: 2, label: hostile }] }],
            },
          },
        ],
      },
    ],
  };
  const html = reportPage(page);
  const clean = reportPage({ title: "", sections: [] });
  expect(html.includes("<b title")).toBe(false);
  expect(html.includes('alert("1")')).toBe(false);
  expect(html.match(/<script/g)).toHaveLength(clean.match(/<script/g)!.length + 1); // the figure's data
  expect(html).toContain(
    "&lt;/script&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&lt;b title=&#39;x&#39;&gt;&amp;amp;",
  );
});

test("a page names no address outside itself and forbids itself to load any", () => {
  const html = reportPage(samplePage());
  expect(html.match(/https?:\/\/.{0,40}/g)).toBeNull();
  expect(html.match(/(src|href)="(?!#|data:).{0,40}/g)).toBeNull();
  expect(html.includes("default-src 'none'")).toBe(true);
});

test("the license of uPlot travels with its code", () => {
  expect(reportPage(samplePage()).includes("Copyright (c) 2022 Leon Sorokin")).toBe(true);
});

test("every figure carries its data for the script and its numbers for readers without", () => {
  const html = reportPage(samplePage());
  const figures = [...html.matchAll(/<figure class="plot"[\s\S]*?<\/figure>/g)].map(([figure]) => figure);
  expect(figures).toHaveLength(6);
  for (const figure of figures) {
    const [, json] = /<script type="application\/json" class="drawing">(.*)<\/script>/.exec(figure)!;
    expect(JSON.parse(json!).panels.length).toBeGreaterThan(0);
    expect(figure.match(/<tr>/g)!.length).toBeGreaterThan(2);
    expect(figure).toContain("<noscript>");
  }
});

test("contents are listed from four sections on", () => {
  const sections = ["a", "b", "c", "d"].map((title) => ({ title, parts: [] }));
  expect(reportPage({ title: "", sections })).toContain('<a href="#section-4">d</a>');
  expect(reportPage({ title: "", sections: sections.slice(1) })).not.toContain("<nav");
});

test("numbers of a table are written in their unit and sort by their value; nothing is a dash", () => {
  const html = reportPage({
    title: "",
    sections: [
      {
        title: "",
        parts: [
          {
            kind: "table",
            columns: [{ title: "size", unit: "bytes" }],
            rows: [[4.9e9], [null]],
          },
        ],
      },
    ],
  });
  expect(html).toContain('<td data-value="4900000000">4.9 GB</td>');
  expect(html).toContain('<td class="number">–</td>');
});
