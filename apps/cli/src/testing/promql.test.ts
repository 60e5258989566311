import { expect, test } from "vitest";
import { parseExpression } from "./promql.ts";

const metrics = (text: string) => parseExpression(text).selectors.map(({ metric }) => metric);

test("metrics are told from functions, operators, durations, numbers and labels", () => {
  const text = `histogram_quantile(0.99, sum by (job, le) (rate(a_bucket[5m]))) > 5
    and on (job, instance) sum(rate(b_total[$__rate_interval])) without (kind) / 1.5e9 # c_total
    or max by (kind)(d offset 6h) unless bool_total == bool e`;
  expect(metrics(text)).toEqual(["a_bucket", "b_total", "d", "bool_total", "e"]);
  expect(parseExpression(text).groupedLabels).toEqual(["job", "le", "job", "instance", "kind", "kind"]);
});

test("matchers are read with their operators, quotes and escapes", () => {
  const { selectors } = parseExpression(String.raw`a{b="x",c!~'y|{z}',d=~"\"$q\""} * on (b) group_left a`);
  expect(selectors).toEqual([
    {
      metric: "a",
      matchers: [
        { label: "b", operator: "=", value: "x" },
        { label: "c", operator: "!~", value: "y|{z}" },
        { label: "d", operator: "=~", value: String.raw`\"$q\"` },
      ],
    },
    { metric: "a", matchers: [] },
  ]);
});

test.each([
  ["sum(a", "no ) at the end"],
  ["sum(a])", "a stray ]"],
  ["a{b}", "no label matcher"],
  ["a{b=c}", "no label matcher"],
  ['a{b="c" d="e"}', "no label matcher"],
  ["a ; b", "no PromQL at"],
  ['a{b="c}', "no PromQL at"],
])("%s is refused", (text, sentence) => {
  expect(() => parseExpression(text)).toThrow(sentence);
});
