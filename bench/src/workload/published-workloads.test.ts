import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { PlannedRequest } from "../load/planned-request.ts";
import { promptWords } from "./prompt-words.ts";
import { sharedWorkloads, sharedWorkloadsAbsent } from "./testing/shared-workloads.ts";
import { take } from "./testing/take.ts";
import { workloadFromOptions } from "./workload-from-options.ts";

const file = (name: string) => join(sharedWorkloads, name);
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe.skipIf(sharedWorkloadsAbsent !== undefined)(sharedWorkloadsAbsent ?? "published workloads", () => {
  test("the Azure trace has its 19,366 requests with their times and lengths", () => {
    const workload = workloadFromOptions({
      dataset: "trace",
      datasetFile: file("AzureLLMInferenceTrace_conv.csv"),
      maxInputTokens: 16,
    });
    expect(workload.size).toBe(19_366);
    const requests = [...workload.requests()];
    expect(requests).toHaveLength(19_366);
    expect(requests[0]).toMatchObject({ dueSeconds: 0, maxTokens: 44 });
    expect(requests[1]!.dueSeconds).toBeCloseTo(4.314579, 5);
    // From 18:15:46.6805900 to 19:14:08.4025270.
    expect(requests.at(-1)!.dueSeconds).toBeCloseTo(3501.721937, 5);
    expect(mean(requests.map(({ maxTokens }) => maxTokens))).toBeCloseTo(211, 0);
  });

  test("lengths drawn from the Azure trace have its mean", () => {
    const path = file("AzureLLMInferenceTrace_conv.csv");
    const { description, requests } = workloadFromOptions({
      inputTokens: "4",
      outputTokens: `file:${path}`,
      requests: 20_000,
    });
    // The deviation of its answers is 163 tokens, so 4 deviations of the mean are 4.6.
    expect(Math.abs(mean([...requests()].map(({ maxTokens }) => maxTokens)) - 211)).toBeLessThan(5.6);
    expect(description).toContain("19366");
  });

  test("prompts of the Mooncake trace share what its hash ids share", () => {
    const options = {
      dataset: "trace",
      datasetFile: file("mooncake_conversation_trace.jsonl"),
      vocabularySize: 32_000,
    } as const;
    const whole = workloadFromOptions(options);
    expect(whole.size).toBe(12_031);
    const [first, second] = take(whole.requests(), 2).map(({ prompt, promptTokens }: PlannedRequest) => {
      const ids = prompt.kind === "tokens" ? prompt.tokenIds : [];
      expect(ids).toHaveLength(promptTokens!);
      return ids;
    });
    // Both begin with id 0 and go on with others.
    expect(first!.slice(0, 512)).toEqual(second!.slice(0, 512));
    expect(first![512]).not.toBe(second![512]);
  });

  test.each([
    ["mt_bench_question.jsonl", 80],
    ["spec_bench_question.jsonl", 480],
    ["gsm8k_train.jsonl", 7473],
  ])("%s has %d prompts, all different in one round", (name, count) => {
    const { description, requests } = workloadFromOptions({
      dataset: "jsonl",
      datasetFile: file(name),
      requests: count,
    });
    expect(description).toContain(`${count} prompts of`);
    const planned = [...requests()];
    expect(planned).toHaveLength(count);
    expect(new Set(planned.map(({ prompt }) => JSON.stringify(prompt))).size).toBe(count);
  });

  test("MT-Bench's conversations have two turns each", () => {
    const options = { dataset: "conversation", datasetFile: file("mt_bench_question.jsonl"), requests: 160 } as const;
    const planned = [...workloadFromOptions(options).requests()];
    expect(planned.map(({ turn }) => turn!.number)).toEqual(Array.from({ length: 160 }, (_, i) => i % 2));
  });

  test("prompts by length have the length asked for", () => {
    const options = { dataset: "prompts-by-length", datasetFile: file("prompts_by_length.json"), requests: 5 } as const;
    const planned = [...workloadFromOptions({ ...options, inputTokens: "1000" }).requests()];
    expect(planned.map(({ promptTokens }) => promptTokens)).toEqual(Array(5).fill(1024));
  });
});

const tokenizers = join(sharedWorkloads, "../tokenizers");

describe.skipIf(!existsSync(tokenizers))("words of synthetic prompts", () => {
  test("there are 512 different ones", () => {
    expect(new Set(promptWords).size).toBe(512);
  });

  test.each([
    ["falcon", "\u0120"],
    ["phi-2", "\u0120"],
    ["llama2", "\u2581"],
    ["phi-3-mini", "\u2581"],
  ])("each is one token behind a space in the vocabulary of %s", (name, space) => {
    const { model } = JSON.parse(readFileSync(join(tokenizers, name, "tokenizer.json"), "utf8")) as {
      model: { vocab: Readonly<Record<string, number>> };
    };
    expect(promptWords.filter((word) => model.vocab[`${space}${word}`] === undefined)).toEqual([]);
  });
});
