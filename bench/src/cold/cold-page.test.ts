import { expect, test } from "vitest";
import { textTable } from "../results/table-columns.ts";
import { coldMarkdown } from "./cold-markdown.ts";
import { coldCommand, coldPage } from "./cold-page.ts";
import { coldMedianTable, coldRunTable } from "./cold-table.ts";
import { sampleColdResult } from "./testing/sample-cold-result.ts";

test("tables have a row per start and one per kind, in milliseconds that the header names", () => {
  const result = sampleColdResult({ rounds: 2 });
  const [header, ...rows] = textTable(coldRunTable(result));
  expect(header).toEqual(
    (
      "start;cached %;code ms;model ms;listening ms;ready ms;first token ms;second token ms;" +
      "load ms;TTFT ms;first step ms;later step ms;server RSS;engine RSS"
    ).split(";"),
  );
  expect(rows.map(([start, cached, code]) => [start, cached, code])).toEqual([
    ["cold", "0", "300"],
    ["warm", "100", "300"],
    ["cold", "0", "318"],
    ["warm", "100", "318"],
  ]);
  const medians = textTable(coldMedianTable(result)).slice(1);
  expect(medians.map(([name, code]) => [name, code])).toEqual([
    ["2 cold", "309"],
    ["2 warm", "309"],
  ]);
});

test("what the system does not tell has no column", () => {
  const { runs, ...result } = sampleColdResult({ rounds: 1, warmOnly: true });
  const silent = runs.map((run) => ({ ...run, residentBytes: null, peakResidentBytes: null }));
  expect(textTable(coldRunTable({ ...result, runs: silent }))[0]).not.toContain("cached %");
  expect(textTable(coldRunTable({ ...result, runs: silent }))[0]!.join()).not.toContain("RSS");
});

test("Markdown has both tables, how the files were made cold, and the command", () => {
  const markdown = coldMarkdown(sampleColdResult());
  expect(markdown).toMatch(/^# llama3-8b from its start to the first tokens\n/);
  expect(markdown.match(/^\| (cold|warm) /gm)).toHaveLength(6);
  expect(markdown).toMatch(/^\| 3 cold /m);
  expect(markdown).toContain("the model's 7 files (8 GB) were dropped from the page cache");
  expect(markdown).toContain(
    "kvant bench cold './llama3 8b' --weights int8 --prompt-tokens 32 --runs 3 --limit-seconds 600\n",
  );
  for (const table of markdown.match(/(\|.*\n)+/g)!) {
    expect(
      new Set(
        table
          .trimEnd()
          .split("\n")
          .map(({ length }) => length),
      ).size,
    ).toBe(1);
  }
});

test("a page says what was cold and what was not, and escapes what the model is called", () => {
  const page = coldPage(sampleColdResult());
  for (const text of ["Ready, cold", "Ready, warm", "kvant serve", "AMD EPYC 9B14", "Node 20.19.4"]) {
    expect(page).toContain(text);
  }
  const warm = sampleColdResult({ warmOnly: true });
  const onlyWarm = coldPage({ ...warm, model: { ...warm.model, id: "<b>" } });
  expect(onlyWarm).toContain("No start was cold.");
  expect(onlyWarm).toContain("no cold start: fincore (util-linux) is absent");
  expect(onlyWarm).not.toContain("Ready, cold");
  expect(onlyWarm).not.toContain("<b>");
});

test("the built-in model needs no name in the command", () => {
  expect(coldCommand({ flags: { runs: 3, deterministic: true } })).toBe("kvant bench cold --runs 3 --deterministic");
});
