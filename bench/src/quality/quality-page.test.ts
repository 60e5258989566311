import { expect, test } from "vitest";
import { qualityMarkdown, qualityPage } from "./quality-page.ts";
import { sampleQualityResult } from "./testing/sample-quality-result.ts";

test("Markdown has a line per scheme with its paired interval, and the claims", () => {
  const lines = qualityMarkdown(sampleQualityResult({ withoutCost: true })).split("\n");
  expect(lines[0]).toBe("28,429 tokens of held-out.txt in 55 windows, beside the same weights in BF16.");
  expect(lines[2]).toBe(
    "| scheme | bits per weight | weights held | perplexity | change | 95 % interval | KL | top-1 |",
  );
  expect(lines[3]).toBe("| --- | ---: | ---: | ---: | --- | --- | ---: | ---: |");
  expect(lines.find((line) => line.startsWith("| int4-g128 |"))).toBe(
    "| int4-g128 | 4.25 | 7.9 MB | 48.7 | +2.31 % | +2.21 % to +2.41 % | 0.02285 | 97.7 % |",
  );
  expect(lines).toContain(
    "- gptq at int4-g128 recovers at least 30 % of what round to nearest loses: 45.5 % recovered",
  );
});

test("speed and memory are columns where they were measured", () => {
  expect(qualityMarkdown(sampleQualityResult())).toContain(
    "| decode tok/s | cold first token | warm first token | peak RSS |",
  );
  expect(qualityMarkdown(sampleQualityResult({ withoutCost: true }))).not.toContain("decode tok/s");
});

test("a claim that is not kept says so", () => {
  const { rows, flags } = sampleQualityResult();
  const claims = [{ claim: "up is down", holds: false, measured: "1 and 2" }];
  expect(qualityMarkdown({ rows, flags, claims })).toContain("- **not kept:** up is down: 1 and 2");
});

test("the page holds every scheme, its claims, the flags and no figure of a speed that was not measured", () => {
  const page = qualityPage(sampleQualityResult({ withoutCost: true }));
  for (const { scheme } of sampleQualityResult().rows) expect(page).toContain(scheme);
  expect(page).toContain("int8-channel is within 0.5 % of BF16");
  expect(page).toContain("held-out.txt");
  expect(page).not.toContain("Perplexity against speed");
  expect(qualityPage(sampleQualityResult())).toContain("Perplexity against speed");
});

test("a run without rows is still a page", () => {
  expect(qualityPage({ ...sampleQualityResult(), rows: [], claims: [] })).toContain("No scheme was measured");
});

test("a scheme that failed is named with its reason in Markdown and on the page", () => {
  const failures = [{ scheme: "nvfp4", reason: "cpu has no kernel for nvfp4 [OP_UNSUPPORTED]" }];
  const result = { ...sampleQualityResult(), failures };
  expect(qualityMarkdown(result)).toContain("- **nvfp4 failed:** cpu has no kernel for nvfp4 [OP_UNSUPPORTED]");
  expect(qualityPage(result)).toContain("cpu has no kernel for nvfp4");
  expect(qualityPage(sampleQualityResult())).not.toContain("Schemes that failed");
});
