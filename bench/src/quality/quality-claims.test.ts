import { expect, test } from "vitest";
import { outlierClaims, qualityClaims } from "./quality-claims.ts";

/** Divergences in the order of perplexities. */
const rows = (perplexities: Readonly<Record<string, number>>) =>
  Object.entries(perplexities).map(([scheme, perplexity]) => {
    return { scheme, perplexity, klVsReference: Math.log(perplexity / perplexities.bf16!) };
  });

test("claims are made of the rows that are there, and say what was measured", () => {
  const claims = qualityClaims(
    rows({ bf16: 40, "int8-tensor": 41, "int8-channel": 40.1, "int4-g128": 42, "int4-g128/gptq": 41.2 }),
  );
  expect(claims).toEqual([
    {
      claim: "int8-channel loses less than int8-tensor",
      holds: true,
      measured: "KL 0.00250 and 0.0247, perplexity 40.100 and 41.000",
    },
    { claim: "int8-channel is within 0.5 % of BF16", holds: true, measured: "+0.250 %" },
    {
      claim: "gptq at int4-g128 recovers at least 30 % of what round to nearest loses",
      holds: true,
      measured: "40.0 % recovered",
    },
  ]);
});

test("a claim that rows break does not hold", () => {
  const claims = qualityClaims(
    rows({ bf16: 40, "int8-channel": 40.3, "int4-channel": 42, "int4-g128": 43, "int4-g128/awq": 43.1 }),
  );
  expect(claims.map(({ claim, holds }) => [claim, holds])).toEqual([
    ["int4-g128 loses less than int4-channel", false],
    ["int8-channel is within 0.5 % of BF16", false],
    ["awq at int4-g128 is not worse than round to nearest", false],
  ]);
});

test("granularities are told apart by divergence: a perplexity can be lower by luck", () => {
  const [tensor, channel] = rows({ bf16: 40, "int8-tensor": 40.01, "int8-channel": 40.02 }).slice(1);
  const [claim] = qualityClaims([
    { ...tensor!, klVsReference: 0.0007 },
    { ...channel!, klVsReference: 0.0002 },
  ]);
  expect(claim).toMatchObject({ claim: "int8-channel loses less than int8-tensor", holds: true });
});

test("outliers: losses compare above BF16, also where one side has none", () => {
  const held = (perplexities: Readonly<Record<string, number>>) =>
    outlierClaims(rows(perplexities)).map(({ holds }) => holds);
  const naive = "int8-channel+int8";
  const smooth = "int8-channel+int8/smoothquant";
  expect(held({ bf16: 40, [naive]: 50, [smooth]: 40.2 })).toEqual([true, true]);
  expect(held({ bf16: 40, [naive]: 50, [smooth]: 41.1 })).toEqual([false, false]);
  expect(held({ bf16: 40, [naive]: 40.5, [smooth]: 39.9 })).toEqual([true, true]);
  expect(held({ bf16: 40, [naive]: 39.9, [smooth]: 39.8 })).toEqual([false, true]);
  expect(held({ bf16: 40, "int4-g128": 48, "int4-g128/awq": 44 })).toEqual([true]);
  expect(held({ bf16: 40, "int4-g128": 48, "int4-g128/awq": 44.1 })).toEqual([false]);
});
