import { describe, expect, test } from "vitest";
import { temporaryFile } from "../testing/temporary-file.ts";
import { Trace } from "./trace.ts";
import { traceFormatName, traceRows } from "./trace-rows.ts";

const azure = `TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.0000000,0,5
2023-11-16 18:15:52.1805900,12,7
`;

const burstGpt = `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.5,ChatGPT,1087,0,1087,API log
118,GPT-4,417,276,693,Conversation log
`;

const mooncake = `{"timestamp": 27482, "input_length": 700, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 30535, "input_length": 100, "output_length": 26}
`;

const rowsOf = (content: string) => [...traceRows(temporaryFile("trace", content))];

test("an Azure trace is read with times from its first request on", () => {
  const rows = rowsOf(azure);
  expect(rows.map(({ line, promptTokens, outputTokens }) => [line, promptTokens, outputTokens])).toEqual([
    [2, 374, 44],
    [3, 396, 109],
    [4, 0, 5],
    [5, 12, 7],
  ]);
  // Microseconds survive: a double holds seconds since 1970 to a quarter of one.
  for (const [i, seconds] of [0, 4.314579, 4.31941, 5.5].entries()) expect(rows[i]!.seconds).toBeCloseTo(seconds, 5);
});

test("a time may name its zone, as in Azure's files of 2024, and columns may stand in another order", () => {
  const rows = rowsOf(
    "ContextTokens,TIMESTAMP,GeneratedTokens\n10,2024-05-10 00:00:00.009930+00:00,1\n11,2024-05-10 01:00:01+01:00,2\n",
  );
  expect(rows.map(({ promptTokens }) => promptTokens)).toEqual([10, 11]);
  expect(rows[1]!.seconds).toBeCloseTo(0.99007, 5);
});

test("a BurstGPT trace is read by the names of its columns", () => {
  expect(rowsOf(burstGpt)).toEqual([
    { line: 2, seconds: 0, promptTokens: 472, outputTokens: 18 },
    { line: 3, seconds: 40.5, promptTokens: 1087, outputTokens: 0 },
    { line: 4, seconds: 113, promptTokens: 417, outputTokens: 276 },
  ]);
});

test("a Mooncake trace is read with its hash ids, where there are some", () => {
  const rows = rowsOf(mooncake);
  expect(rows).toEqual([
    { line: 1, seconds: 0, promptTokens: 700, outputTokens: 52, hashIds: [46, 47] },
    { line: 2, seconds: expect.closeTo(3.053, 9), promptTokens: 100, outputTokens: 26 },
  ]);
});

test.each([
  ["Azure", azure],
  ["BurstGPT", burstGpt],
  ["Mooncake", mooncake],
])("a trace of %s is known by its first line", (name, content) => {
  expect(traceFormatName(temporaryFile("trace", content))).toBe(name);
});

describe("what is wrong in a trace is refused with file, line and value", () => {
  const [azureHead, burstHead] = [azure.split("\n")[0]!, burstGpt.split("\n")[0]!];
  test.each([
    [
      "a first line of no format",
      "a,b\n1,2\n",
      'its first line is of no trace that is known (Azure, BurstGPT, Mooncake): "a,b"',
    ],
    ["an empty file", "", "holds no requests"],
    ["a header alone", `${azureHead}\n`, "holds no requests"],
    ["a time that is none", `${azureHead}\nyesterday,1,2\n`, 'line 2: TIMESTAMP is "yesterday", not a time'],
    ["a day that is none", `${azureHead}\n2023-13-45 18:15:46.1,1,2\n`, "line 2: TIMESTAMP is"],
    [
      "a length that is none",
      `${azureHead}\n2023-11-16 18:15:46.1,1,-2\n`,
      'line 2: GeneratedTokens is "-2", not a number of tokens',
    ],
    ["a value too few", `${azureHead}\n2023-11-16 18:15:46.1,1\n`, "line 2 has not the 3 values of the header"],
    ["seconds that are none", `${burstHead}\nnow,GPT-4,1,2,3,API log\n`, 'line 2: Timestamp is "now"'],
    ["a fraction of a token", `${burstHead}\n1,GPT-4,1.5,2,3,API log\n`, 'line 2: Request tokens is "1.5"'],
    ["a line that is no JSON", `${mooncake}{"timestamp": \n`, 'line 3 is not JSON: "{\\"timestamp\\": "'],
    ["a missing field", '{"timestamp": 1, "input_length": 5}\n', "line 1: output_length is undefined"],
    ["a missing time", '{"input_length": 5, "output_length": 5}\n', "line 1: timestamp is undefined"],
    [
      "hash ids that are none",
      '{"timestamp": 1, "input_length": 5, "output_length": 5, "hash_ids": ["a"]}\n',
      'line 1: hash_ids is ["a"]',
    ],
    [
      "a time that goes back",
      `${burstHead}\n9,GPT-4,1,2,3,API log\n7.5,GPT-4,1,2,3,API log\n`,
      "line 3 is 1.500 s earlier",
    ],
  ])("%s", (_, content, sentence) => {
    const path = temporaryFile("trace", content);
    const read = () => [...traceRows(path)];
    expect(read).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", field: "datasetFile" }));
    expect(read).toThrow(path);
    expect(read).toThrow(sentence);
  });
});

test("a stretch begins at its offset, ends at its limits, and counts requests that failed", () => {
  const path = temporaryFile("trace", azure);
  const whole = new Trace({ path, startOffsetSeconds: 0 });
  expect(whole).toMatchObject({ format: "Azure", rowCount: 3, failedCount: 1, seconds: expect.closeTo(5.5, 5) });
  const late = new Trace({ path, startOffsetSeconds: 4 });
  expect([...late.rows()].map(({ promptTokens, seconds }) => [promptTokens, seconds])).toEqual([
    [396, expect.closeTo(0.314579, 5)],
    [12, expect.closeTo(1.5, 5)],
  ]);
  expect(new Trace({ path, startOffsetSeconds: 0, rowLimit: 1 }).rowCount).toBe(1);
  expect(new Trace({ path, startOffsetSeconds: 4, secondsLimit: 1.5 }).rowCount).toBe(1);
  expect(() => new Trace({ path, startOffsetSeconds: 60 })).toThrow(`${path}: no request with prompt and answer`);
});
