import { describe, expect, test } from "vitest";
import type { PlannedPrompt, PlannedRequest } from "../load/planned-request.ts";
import { take } from "./testing/take.ts";
import { temporaryFile } from "./testing/temporary-file.ts";
import { workloadFromOptions } from "./workload-from-options.ts";
import type { WorkloadOptions } from "./workload-options.ts";

const planned = (options: WorkloadOptions): PlannedRequest[] => [...workloadFromOptions(options).requests()];
const idsOf = (prompt: PlannedPrompt): readonly number[] => (prompt.kind === "tokens" ? prompt.tokenIds : []);
const wordsOf = (prompt: PlannedPrompt): readonly string[] => (prompt.kind === "text" ? prompt.text.split(" ") : []);

const azure = `TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.0000000,30,4
2023-11-16 18:15:47.0000000,10,9
2023-11-16 18:15:49.0000000,20,6
2023-11-16 18:15:53.0000000,5,1
`;
const mooncake = `{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 3]}
{"timestamp": 500, "input_length": 1030, "output_length": 5, "hash_ids": [1, 2, 4]}
{"timestamp": 900, "input_length": 600, "output_length": 5, "hash_ids": [1, 5]}
`;
const prompts = '{"prompt": "one"}\n{"prompt": "two"}\n{"prompt": "three"}\n';
const sized = '{"4": "four tokens it is", "16": "a longer one"}';
const shareGpt = JSON.stringify([
  {
    conversations: [
      { from: "human", value: "a" },
      { from: "gpt", value: "b" },
      { from: "human", value: "c" },
      { from: "gpt", value: "d" },
    ],
  },
]);

describe("the same options and seed give the same bytes, another seed gives others", () => {
  test.each([
    ["random words", "", { rate: 5, inputTokens: "5-50" }],
    ["random ids", "", { vocabularySize: 1000, inputTokens: "lognormal:20:0.5" }],
    ["shared prefixes", "", { dataset: "shared-prefix", arrival: "gamma:0.5", rate: 3, inputTokens: "9" }],
    [
      "synthetic conversations",
      "",
      { dataset: "conversation", turns: "1-4", thinkSeconds: "exponential:2", inputTokens: "9" },
    ],
    ["lines", prompts, { dataset: "jsonl" }],
    ["ShareGPT conversations", shareGpt, { dataset: "conversation", thinkSeconds: "1-2" }],
    ["prompts by length", sized, { dataset: "prompts-by-length" }],
    ["an Azure trace", azure, { dataset: "trace" }],
    ["a Mooncake trace", mooncake, { dataset: "trace", arrival: "poisson", rate: 2 }],
  ] as const)("%s", (_, content, rest) => {
    const file = content === "" ? {} : { datasetFile: temporaryFile("dataset", content) };
    const options: WorkloadOptions = { ...rest, ...file, requests: 30, seed: 11 };
    const workload = workloadFromOptions(options);
    const bytes = JSON.stringify([...workload.requests()]);
    expect(JSON.stringify([...workload.requests()])).toBe(bytes);
    expect(JSON.stringify(planned(options))).toBe(bytes);
    expect(JSON.stringify(planned({ ...options, seed: 12 }))).not.toBe(bytes);
    expect(planned(options).map(({ index }) => index)).toEqual(Array.from(planned(options).keys()));
  });
});

test("prompts do not depend on how they arrive", () => {
  const promptsOf = (options: WorkloadOptions) =>
    planned(options).map(({ prompt, maxTokens }) => ({ prompt, maxTokens }));
  const common = { requests: 10, inputTokens: "3-9", outputTokens: "5-90", seed: 4 };
  const closed = promptsOf(common);
  expect(promptsOf({ ...common, rate: 3 })).toEqual(closed);
  expect(promptsOf({ ...common, rampFrom: 1, rampTo: 4 })).toEqual(closed);
});

describe("a load is bounded", () => {
  test("by its count", () => {
    const workload = workloadFromOptions({ requests: 7, inputTokens: "2" });
    expect(workload.size).toBe(7);
    const requests = [...workload.requests()];
    expect(requests).toHaveLength(7);
    expect(requests.every((request) => request.dueSeconds === undefined && request.isFixedLength)).toBe(true);
  });

  test("by time: nothing is due at its end or later", () => {
    const workload = workloadFromOptions({ arrival: "constant", rate: 2, durationSeconds: 3, inputTokens: "2" });
    expect(workload.size).toBeUndefined();
    expect([...workload.requests()].map(({ dueSeconds }) => dueSeconds)).toEqual([0, 0.5, 1, 1.5, 2, 2.5]);
  });

  test("by whichever comes first", () => {
    expect(planned({ arrival: "constant", rate: 2, durationSeconds: 3, requests: 4, inputTokens: "2" })).toHaveLength(
      4,
    );
    expect(planned({ arrival: "constant", rate: 2, durationSeconds: 3, requests: 9, inputTokens: "2" })).toHaveLength(
      6,
    );
  });

  test("in a closed loop of a duration by the load's clock alone", () => {
    const workload = workloadFromOptions({ durationSeconds: 1, inputTokens: "2" });
    expect(workload.size).toBeUndefined();
    expect(take(workload.requests(), 1000)).toHaveLength(1000);
  });

  test("a ramp of a count takes as long as its mean rate needs", () => {
    const requests = planned({ arrival: "constant", rampFrom: 1, rampTo: 3, requests: 20, inputTokens: "2" });
    expect(requests).toHaveLength(20);
    // 20 requests at 2 a second on average, and 3 a second at the end.
    expect(requests.at(-1)!.dueSeconds).toBeCloseTo(10 - 1 / 3, 1);
  });

  test("and refused without either", () => {
    expect(() => workloadFromOptions({ rate: 4 })).toThrow("a load has an end: give requests, durationSeconds or both");
  });
});

test("random prompts have exactly the ids or the words that were drawn, clear of control tokens", () => {
  const ids = planned({ requests: 200, inputTokens: "1-40", vocabularySize: 64 });
  for (const { prompt, promptTokens } of ids) expect(idsOf(prompt)).toHaveLength(promptTokens!);
  const all = new Set(ids.flatMap(({ prompt }) => idsOf(prompt)));
  expect([Math.min(...all), Math.max(...all)]).toEqual([16, 63]);
  for (const { prompt, promptTokens } of planned({ requests: 20, inputTokens: "1-40" })) {
    expect(wordsOf(prompt)).toHaveLength(promptTokens!);
  }
});

test("limits cut lengths, and the description says so", () => {
  const workload = workloadFromOptions({
    requests: 50,
    inputTokens: "1-90",
    outputTokens: "1-90",
    maxInputTokens: 30,
    maxOutputTokens: 20,
  });
  const requests = [...workload.requests()];
  expect(Math.max(...requests.map(({ promptTokens }) => promptTokens!))).toBe(30);
  expect(Math.max(...requests.map(({ maxTokens }) => maxTokens))).toBe(20);
  expect(workload.description).toBe(
    "random words, 1-90 tokens in, 1-90 out, cut to at most 30 in and 20 out; closed loop; seed 0",
  );
});

describe("shared prefixes", () => {
  test("prompts of a family share its prefix and nothing else, families share nothing", () => {
    const options = { dataset: "shared-prefix", prefixFamilies: 3, prefixTokens: 40, inputTokens: "10" } as const;
    const requests = planned({ ...options, requests: 60, vocabularySize: 50_000 });
    const prefixes = new Set(requests.map(({ prompt }) => idsOf(prompt).slice(0, 40).join()));
    expect(prefixes.size).toBe(3);
    expect(new Set(requests.map(({ prompt }) => idsOf(prompt).slice(40).join())).size).toBe(60);
    expect(new Set([...prefixes].map((prefix) => prefix.split(",")[0])).size).toBe(3);
    expect(requests.every(({ promptTokens }) => promptTokens === 50)).toBe(true);
  });

  test("in words they share their text to the letter", () => {
    const options = { dataset: "shared-prefix", prefixFamilies: 1, prefixTokens: 5, inputTokens: "3" } as const;
    const [first, second] = planned({ ...options, requests: 2 });
    expect(wordsOf(first!.prompt).slice(0, 5)).toEqual(wordsOf(second!.prompt).slice(0, 5));
    expect(wordsOf(first!.prompt).slice(5)).not.toEqual(wordsOf(second!.prompt).slice(5));
  });
});

describe("conversations", () => {
  const options = { dataset: "conversation", turns: "3", inputTokens: "4", thinkSeconds: "1-2" } as const;

  test("turns follow one another, the first alone has a due time, and users think before the others", () => {
    const requests = planned({ ...options, requests: 7, arrival: "constant", rate: 2 });
    expect(requests.map(({ turn }) => [turn!.conversation, turn!.number])).toEqual([
      [0, 0],
      [0, 1],
      [0, 2],
      [1, 0],
      [1, 1],
      [1, 2],
      [2, 0],
    ]);
    expect(requests.map(({ dueSeconds }) => dueSeconds)).toEqual([
      0,
      undefined,
      undefined,
      0.5,
      undefined,
      undefined,
      1,
    ]);
    for (const { turn } of requests) {
      const { number, thinkSeconds } = turn!;
      if (number === 0) expect(thinkSeconds).toBe(0);
      else expect(Math.abs(thinkSeconds - 1.5)).toBeLessThanOrEqual(0.5);
    }
    expect(requests.every(({ prompt }) => prompt.kind === "chat" && prompt.messages.length === 1)).toBe(true);
  });

  test("of a file they are its own, and answers end where the model ends them", () => {
    const datasetFile = temporaryFile("sharegpt.json", shareGpt);
    const [first, second] = planned({ dataset: "conversation", datasetFile, requests: 2 });
    expect([first!.prompt, second!.prompt]).toEqual(
      ["a", "c"].map((content) => ({ kind: "chat", messages: [{ role: "user", content }] })),
    );
    expect(first!.isFixedLength).toBe(false);
    expect(planned({ dataset: "conversation", datasetFile, requests: 1, ignoreEos: true })[0]!.isFixedLength).toBe(
      true,
    );
  });

  test("of a single turn it is a plain request", () => {
    expect(planned({ ...options, turns: "1", requests: 1 })[0]).not.toHaveProperty("turn");
  });
});

describe("traces", () => {
  test.each([1, 0.5, 3])("gaps are kept, times %d, and so is the order", (timeScale) => {
    const datasetFile = temporaryFile("trace.csv", azure);
    const workload = workloadFromOptions({ dataset: "trace", datasetFile, timeScale });
    const requests = [...workload.requests()];
    expect(workload.size).toBe(4);
    for (const [i, seconds] of [0, 1, 3, 7].entries())
      expect(requests[i]!.dueSeconds).toBeCloseTo(seconds * timeScale, 5);
    expect(requests.map(({ promptTokens, maxTokens }) => [promptTokens, maxTokens])).toEqual([
      [30, 4],
      [10, 9],
      [20, 6],
      [5, 1],
    ]);
  });

  test("a start offset and a duration cut a stretch out", () => {
    const datasetFile = temporaryFile("trace.csv", azure);
    const options = {
      dataset: "trace",
      datasetFile,
      startOffsetSeconds: 0.5,
      timeScale: 0.5,
      durationSeconds: 2,
    } as const;
    const workload = workloadFromOptions(options);
    const due = [...workload.requests()].map(({ dueSeconds }) => dueSeconds);
    expect(due).toEqual([expect.closeTo(0.25, 5), expect.closeTo(1.25, 5)]);
  });

  test("a trace that a duration cuts is bounded by time; one that ends before it, by its rows", () => {
    const datasetFile = temporaryFile("trace.csv", azure);
    const sizeWithin = (bounds: WorkloadOptions) =>
      workloadFromOptions({ dataset: "trace", datasetFile, ...bounds }).size;
    // Rows at 0, 1, 3 and 7 s.
    expect(sizeWithin({ durationSeconds: 7 })).toBeUndefined();
    expect(sizeWithin({ durationSeconds: 7.1 })).toBe(4);
    expect(sizeWithin({ durationSeconds: 7, timeScale: 0.5 })).toBe(4);
    expect(sizeWithin({ durationSeconds: 7, requests: 2 })).toBe(2);
    expect(sizeWithin({ durationSeconds: 7, requests: 4 })).toBeUndefined();
  });

  test("what limits cut is counted in the description", () => {
    const datasetFile = temporaryFile("trace.csv", azure);
    const workload = workloadFromOptions({ dataset: "trace", datasetFile, maxInputTokens: 15, maxOutputTokens: 5 });
    expect([...workload.requests()].map(({ promptTokens, maxTokens }) => [promptTokens, maxTokens])).toEqual([
      [15, 4],
      [10, 5],
      [15, 5],
      [5, 1],
    ]);
    expect(workload.description).toBe(
      `4 requests of the Azure trace ${datasetFile}, 2 prompts cut to 15 tokens, 2 answers cut to 5 tokens; as they came over 7.0 s; seed 0`,
    );
  });

  test("equal hash ids give equal pieces of 512 tokens", () => {
    const datasetFile = temporaryFile("trace.jsonl", mooncake);
    const [first, second, third] = planned({ dataset: "trace", datasetFile, vocabularySize: 50_000 }).map(
      ({ prompt }) => idsOf(prompt),
    );
    expect([first!.length, second!.length, third!.length]).toEqual([1100, 1030, 600]);
    expect(second!.slice(0, 1024)).toEqual(first!.slice(0, 1024));
    expect(second![1024]).not.toBe(first![1024]);
    expect(third!.slice(0, 512)).toEqual(first!.slice(0, 512));
    expect(third![512]).not.toBe(first![512]);
  });

  test("with a rate or in a closed loop a trace lends its lengths alone, from the first again after the last", () => {
    const datasetFile = temporaryFile("trace.csv", azure);
    const workload = workloadFromOptions({ dataset: "trace", datasetFile, arrival: "constant", rate: 1, requests: 6 });
    const requests = [...workload.requests()];
    expect(requests.map(({ dueSeconds }) => dueSeconds)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(requests.map(({ promptTokens }) => promptTokens)).toEqual([30, 10, 20, 5, 30, 10]);
    expect(requests[4]!.prompt).not.toEqual(requests[0]!.prompt);
    expect(workload.description).toContain("from the first again after the last");
    const closed = workloadFromOptions({ dataset: "trace", datasetFile, arrival: "closed" });
    expect(closed.size).toBe(4);
    expect([...closed.requests()].map(({ dueSeconds }) => dueSeconds)).toEqual(Array(4).fill(undefined));
  });
});

test("a prompt by length is the text of the nearest one, any where no length is asked for", () => {
  const datasetFile = temporaryFile("prompts.json", sized);
  const options = { dataset: "prompts-by-length", datasetFile, requests: 40 } as const;
  const texts = (rest: WorkloadOptions) =>
    new Set(planned({ ...options, ...rest }).map(({ promptTokens }) => promptTokens));
  expect(texts({ inputTokens: "9" })).toEqual(new Set([4]));
  expect(texts({ inputTokens: "11-99" })).toEqual(new Set([16]));
  expect(texts({})).toEqual(new Set([4, 16]));
  expect(texts({ maxInputTokens: 5 })).toEqual(new Set([4]));
  const refused = (content: string) => () =>
    planned({ ...options, datasetFile: temporaryFile("prompts.json", content) });
  expect(refused("[]")).toThrow("is [], not an object from token counts to texts");
  expect(refused('{"x": "a"}')).toThrow('the key "x" is no number of tokens');
  expect(refused('{"4": 4}')).toThrow("the text for 4 tokens is 4");
  expect(refused('{"4": ')).toThrow("is not JSON");
});

describe("options that cannot be are refused by name", () => {
  const bounded = { requests: 5 };
  test.each<[keyof WorkloadOptions, WorkloadOptions, string]>([
    ["requests", { requests: 0 }, "requests is 0, not a whole number from 1"],
    ["durationSeconds", { durationSeconds: 0 }, "durationSeconds is 0, not a number above 0"],
    ["durationSeconds", { durationSeconds: Number.NaN }, "durationSeconds is NaN"],
    ["rate", { ...bounded, rate: -1 }, "rate is -1"],
    ["seed", { ...bounded, seed: 2 ** 32 }, "seed is 4294967296, not an integer from 0 to 4294967295"],
    ["seed", { ...bounded, seed: 1.5 }, "seed is 1.5"],
    ["vocabularySize", { ...bounded, vocabularySize: 0 }, "vocabularySize is 0"],
    ["startOffsetSeconds", { dataset: "trace", datasetFile: "x", startOffsetSeconds: -1 }, "startOffsetSeconds is -1"],
    ["inputTokens", { ...bounded, inputTokens: "many" }, 'inputTokens is "many"; give 512, 200-800'],
    ["arrival", { ...bounded, arrival: "bursts", rate: 1 }, 'arrival is "bursts"; give closed, constant, poisson'],
    ["rate", { ...bounded, arrival: "constant" }, "arrival constant needs a rate or a ramp"],
    ["arrival", { ...bounded, arrival: "closed", rate: 4 }, "arrival closed has no rate"],
    ["arrival", { ...bounded, arrival: "trace" }, "the dataset random has no times to replay"],
    ["rate", { ...bounded, rate: 1, rampFrom: 1, rampTo: 2 }, "either a rate or a ramp"],
    ["rampDelaySeconds", { ...bounded, rampDelaySeconds: 1 }, "rampDelaySeconds is for a ramp"],
    [
      "rampDelaySeconds",
      { durationSeconds: 5, rampFrom: 1, rampTo: 2, rampDelaySeconds: 5 },
      "leaves nothing of the load to its ramp",
    ],
    ["rampTo", { ...bounded, rampFrom: 1 }, "a ramp has both rampFrom and rampTo"],
    ["rampTo", { ...bounded, rampFrom: 0, rampTo: 0 }, "a ramp from 0 to 0 has no requests"],
    ["datasetFile", { ...bounded, dataset: "jsonl" }, "the dataset jsonl is read from a file"],
    ["datasetFile", { ...bounded, datasetFile: "x" }, "datasetFile means nothing for the dataset random"],
    [
      "inputTokens",
      { ...bounded, dataset: "sharegpt", datasetFile: "x", inputTokens: "5" },
      "inputTokens means nothing for the dataset sharegpt",
    ],
    [
      "turns",
      { ...bounded, dataset: "conversation", datasetFile: "x", turns: "5" },
      "turns is for synthetic conversations",
    ],
    [
      "datasetOrder",
      { ...bounded, dataset: "conversation", datasetOrder: "file" },
      "datasetOrder is for datasets that are read from a file",
    ],
    [
      "prefixTokens",
      { ...bounded, prefixTokens: 5 },
      "prefixTokens means nothing for the dataset random; it is for shared-prefix",
    ],
    ["timeScale", { ...bounded, timeScale: 2 }, "timeScale means nothing for the dataset random"],
    [
      "timeScale",
      { dataset: "trace", datasetFile: "x", rate: 1, timeScale: 2 },
      "timeScale is for a trace whose times are replayed",
    ],
    [
      "datasetFile",
      { dataset: "trace", datasetFile: "/nowhere/trace.csv" },
      "/nowhere/trace.csv: cannot be read (ENOENT)",
    ],
  ])("%s in %j", (field, options, sentence) => {
    const make = () => workloadFromOptions(options);
    expect(make).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", field }));
    expect(make).toThrow(sentence);
  });
});
