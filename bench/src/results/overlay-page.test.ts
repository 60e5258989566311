import { expect, test } from "vitest";
import type { LoadResult } from "../load/load-result.ts";
import { overlayPage } from "./overlay-page.ts";
import { sampleLoadResult } from "./testing/sample-load-result.ts";

function withScheme(scheme: Readonly<Record<string, string>>, slowness = 1): LoadResult {
  const result = sampleLoadResult({ slowness });
  return { ...result, server: { ...result.server, scheme: { ...result.server.scheme, ...scheme } } };
}

test("curves are named by what differs, in a figure for each KV format", () => {
  const page = overlayPage(
    ["bf16", "int8-channel"].flatMap((weights) =>
      ["bf16", "int8"].map((kvFormat) => withScheme({ weights, kvFormat }, weights === "bf16" ? 2 : 1)),
    ),
  );
  for (const title of [
    "Between tokens, p50, bf16 KV",
    "Between tokens, p99, int8 KV",
    "Time to first token, p50, bf16 KV",
  ]) {
    expect(page).toContain(title);
  }
  expect(page).toContain("int8-channel, int8 KV");
  expect(page).not.toContain("int8-channel x int8");
});

test("where only one part differs there is one figure", () => {
  const page = overlayPage([withScheme({ kvFormat: "bf16" }), withScheme({ kvFormat: "int8" })], "KV formats");
  expect(page).toContain("<title>KV formats</title>");
  expect(page.match(/<figure /g)).toHaveLength(4);
  expect(page).not.toContain("bf16 KV");
});

test("results of one scheme are told apart by their places", () => {
  const page = overlayPage([sampleLoadResult(), sampleLoadResult({ slowness: 2 })]);
  expect(page).toContain("result 1");
  expect(page).toContain("result 2");
});
