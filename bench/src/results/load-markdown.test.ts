import { expect, test } from "vitest";
import { loadMarkdown } from "./load-markdown.ts";
import { loadPage } from "./load-page.ts";
import { loadRow } from "./load-row.ts";
import { levelTable } from "./load-tables.ts";
import { milliseconds, textTable } from "./table-columns.ts";
import { sampleLoadResult } from "./testing/sample-load-result.ts";

test("a table of levels names milliseconds and percent in its header and leaves out what nobody measured", () => {
  const [header, ...rows] = textTable(levelTable(sampleLoadResult()));
  expect(header).toEqual(
    "load;completed;failed;req/s;out tok/s;all tok/s;TTFT p50 ms;TTFT p99 ms;ITL p50 ms;ITL p99 ms;e2e p50 ms;e2e p99 ms;good req/s;good %".split(
      ";",
    ),
  );
  expect(rows.map(([name]) => name)).toEqual(["1 stream", "4 streams", "16 streams", "64 streams"]);
  const result = sampleLoadResult({ streams: [1] });
  const { interToken: _, goodShare: __, goodRequestsPerSecond: ___, ...level } = result.levels[0]!;
  const [shorter] = textTable(levelTable({ ...result, levels: [level] }));
  expect(shorter!.filter((title) => /ITL|good/.test(title))).toEqual([]);
});

test("what the prefix cache took off is a column and a sentence, where the server tells", () => {
  const [level, other] = sampleLoadResult({ streams: [1, 4] }).levels;
  const told = { ...level!, promptTokens: 1000, cachedTokens: 250 };
  const result = { ...sampleLoadResult(), levels: [told, { ...other!, promptTokens: 1000 }] };
  const [header, ...rows] = textTable(levelTable(result));
  expect(rows.map((row) => row[header!.indexOf("cached %")])).toEqual(["25", "-"]);
  const sentence = "Of 1,000 tokens in, 250 (25.0 %) were in the server's prefix cache.";
  expect(loadMarkdown(result)).toContain(sentence);
  expect(loadPage(result)).toContain("Of 1,000 tokens in, 250 (25.0 %) were in the server");
  expect(loadRow(result, told)).toMatchObject({ promptTokens: 1000, cachedTokens: 250 });
  const silent = { ...result, levels: [other!] };
  for (const text of [loadMarkdown(silent), loadPage(silent)]) expect(text).not.toMatch(/prefix cache|cached/);
  expect(loadRow(silent, other!)).not.toHaveProperty("cachedTokens");
});

test.each([
  [0.000004, "0.00"],
  [0.0012345, "1.23"],
  [0.012345, "12.3"],
  [1.2345, "1235"],
])("%d s are %s ms", (seconds, text) => {
  expect(milliseconds(seconds)).toBe(text);
});

test("Markdown has the tables, what failed and the command; what a server says cannot break it", () => {
  const markdown = loadMarkdown(sampleLoadResult(), "A *bold* name");
  expect(markdown).toMatch(/^# A \\\*bold\\\* name\n/);
  expect(markdown).toContain("status 429: the queue holds 64 requests \\| \\<try later\\>");
  expect(markdown).toContain("kvant bench serve --url http://127.0.0.1:8000 --concurrency 1,4,16,64");
  for (const table of markdown.match(/(\|.*\n)+/g)!) {
    const lines = table.trimEnd().split("\n");
    const cellsOf = (line: string): number => line.replaceAll("\\|", "").split("|").length;
    expect(new Set(lines.map(cellsOf)).size).toBe(1);
    expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
  }
});

test("a page escapes what servers and users say, and leaves out what nobody measured", () => {
  const result = sampleLoadResult({ streams: [4] });
  const page = loadPage({ ...result, workload: "<script>alert(1)</script>" }, "<b>");
  expect(page).not.toContain("<script>alert(1)");
  expect(page).toContain("&lt;script&gt;alert(1)");
  expect(page).toContain("Goodput");
  const { goodRequestsPerSecond: _, goodShare: __, ...plain } = result.levels[0]!;
  expect(loadPage({ ...result, levels: [plain] })).not.toContain("Goodput");
});

test("a page of a load in which nothing came back says what failed", () => {
  const result = sampleLoadResult({ streams: [4] });
  const { timeToFirstToken: _, interToken: __, timePerOutputToken: ___, endToEnd: ____, ...level } = result.levels[0]!;
  const silent = {
    ...level,
    ...{ completed: 0, failures: { connect: 603 }, failureExamples: { connect: "connect ECONNREFUSED 127.0.0.1:1" } },
    ...{ outputTokens: 0, outputTokensPerSecond: 0, countedBy: {} },
  };
  const page = loadPage({ ...result, levels: [silent] });
  expect(page).toContain("connect ECONNREFUSED 127.0.0.1:1");
  expect(page).toContain("No answer had tokens to count.");
});
