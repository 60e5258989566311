import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { datasetNames, repeatCommand, type SweepLevel } from "@kvant/bench";
import { Command } from "commander";
import { afterAll, describe, expect, test } from "vitest";
import { addLoadFlags, datasets, type LoadFlags } from "./load-flags.ts";
import { apiKey, recordedFlags, serveFlags, serverUrl, sweepLevels, withDefaults } from "./load-plan.ts";

function flagsOf(line: string): LoadFlags {
  const command = addLoadFlags(new Command().exitOverride().configureOutput({ writeErr: () => undefined }));
  return command.parse(line.split(" ").filter(Boolean), { from: "user" }).opts<LoadFlags>();
}

function levelsOf(line: string): readonly SweepLevel[] {
  return sweepLevels(withDefaults(flagsOf(line)), 4096);
}

const url = "--url http://127.0.0.1:8000";

test("the command line offers every dataset of the bench", () => {
  expect(datasets).toEqual(datasetNames);
});

describe("defaults", () => {
  test("a server of its own gets 256 streams of 1000 tokens in and out, one request each", () => {
    const [level, ...others] = levelsOf("");
    expect(others).toEqual([]);
    expect(level).toMatchObject({ name: "256 streams", concurrency: 256, requestLimit: 256 });
    expect(level!.durationSeconds).toBeUndefined();
    const [request] = level!.workload.requests();
    expect(request).toMatchObject({ promptTokens: 1000, maxTokens: 1000, isFixedLength: true });
  });

  test("another server gets 16 streams for a minute", () => {
    const [level] = levelsOf(url);
    expect(level).toMatchObject({ name: "16 streams", concurrency: 16, durationSeconds: 60 });
    expect(level!.requestLimit).toBeUndefined();
    const [request] = level!.workload.requests();
    expect(request).toMatchObject({ promptTokens: 512, maxTokens: 128 });
  });

  test("a rate without a count or a time lasts a minute, on a server of its own too", () => {
    expect(levelsOf("--rate 2")).toMatchObject([{ name: "2 requests/s, poisson", durationSeconds: 60 }]);
  });
});

test("several concurrencies or rates are a sweep whose levels ask different requests", () => {
  const levels = levelsOf(`${url} --concurrency 1,4 --requests 8 --seed 5`);
  expect(levels.map(({ name, concurrency, requestLimit }) => [name, concurrency, requestLimit])).toEqual([
    ["1 stream", 1, 8],
    ["4 streams", 4, 8],
  ]);
  const [first, second] = levels.map(({ workload }) => [...workload.requests()].map(({ prompt }) => prompt));
  expect(first).toHaveLength(8);
  expect(first).not.toEqual(second);
  const rates = levelsOf(`${url} --rate 0.5,8 --duration 10 --arrival constant`);
  expect(rates.map(({ name, requestsPerSecond }) => [name, requestsPerSecond])).toEqual([
    ["0.5 requests/s, constant", 0.5],
    ["8 requests/s, constant", 8],
  ]);
  expect([...rates[0]!.workload.requests()].map(({ dueSeconds }) => dueSeconds)).toHaveLength(5);
});

test("a ramp is one level", () => {
  expect(levelsOf(`${url} --ramp-from 1 --ramp-to 9 --duration 10`)).toMatchObject([
    { name: "1 to 9 requests/s", durationSeconds: 10 },
  ]);
});

test("a warm-up comes on top of what is measured", () => {
  expect(levelsOf(`${url} --duration 10 --warm-up 5s`)).toMatchObject([{ durationSeconds: 15 }]);
  expect(levelsOf(`${url} --requests 100 --warm-up 20`)).toMatchObject([{ requestLimit: 120 }]);
  expect(levelsOf(`--streams 8 --warm-up 20`)).toMatchObject([{ requestLimit: 28 }]);
  expect(levelsOf(`${url} --duration 10 --requests 100 --warm-up 20`)).toMatchObject([
    { durationSeconds: 10, requestLimit: 120 },
  ]);
});

test("a ramp warms up at the rate at which its measured part begins", () => {
  const dueOf = (line: string) =>
    levelsOf(`${url} --ramp-from 2 --ramp-to 6 --arrival constant ${line}`).flatMap(({ workload }) =>
      [...workload.requests()].map(({ dueSeconds }) => dueSeconds!),
    );
  const alone = dueOf("--duration 4");
  const warmed = dueOf("--duration 4 --warm-up 3s");
  expect(warmed.slice(0, 6)).toEqual([0, 0.5, 1, 1.5, 2, 2.5]);
  expect(warmed.slice(6).map((due) => due - 3)).toEqual(alone.map((due) => expect.closeTo(due, 9)));
  expect(dueOf("--requests 16 --warm-up 6")).toEqual(warmed.map((due) => expect.closeTo(due, 9)));
});

test("sweeps whose seeds follow each other ask different requests, up to the last seed", () => {
  const promptsOf = (seed: number) =>
    levelsOf(`${url} --concurrency 1,2,3 --requests 4 --seed ${seed}`).map(({ workload }) =>
      JSON.stringify([...workload.requests()].map(({ prompt }) => prompt)),
    );
  expect(new Set([...promptsOf(5), ...promptsOf(6), ...promptsOf(7)]).size).toBe(9);
  expect(promptsOf(4_294_967_295)).toHaveLength(3);
});

test("the older names of flags mean the same", () => {
  const older = withDefaults(flagsOf("--streams 8 --requests 9 --prompt-tokens 20 --output-tokens 30"));
  expect(older).toEqual(withDefaults(flagsOf("--concurrency 8 --requests 9 --input-tokens 20 --output-tokens 30")));
});

test.each([
  [`${url} --grpc localhost:1`, "give either --url or --grpc, not both"],
  ["--streams 4 --concurrency 4", "give either --streams or --concurrency, not both"],
  ["--prompt-tokens 4 --input-tokens 4", "give either --prompt-tokens or --input-tokens, not both"],
  ["--grpc localhost:1 --endpoint chat", "give either --endpoint or --grpc, not both"],
  [`${url} --kv-format int8`, "--kv-format is for a server of its own, not for one that runs already"],
  [`${url} --rate 4 --streams 8`, "an open loop has no streams"],
  ["--streams 8 --requests 4", "--requests 4 is less than --streams 8"],
  [`${url} --dataset trace`, "read from a file"],
  [`${url} --rate 4 --ramp-from 1 --ramp-to 2`, "either a rate or a ramp"],
  [`${url} --requests 20 --warm-up 5s`, "--warm-up 5s is for a load with --duration"],
  [`${url} --rate 4 --requests 20 --warm-up 5s`, "--warm-up 5s is for a load with --duration"],
  ["--warm-up 5s", "--warm-up 5s is for a load with --duration"],
  [`${url} --duration 10 --warm-up 20`, "--warm-up 20 is for a load with --requests"],
  [`${url} --warm-up 20`, "--warm-up 20 is for a load with --requests"],
  [`${url} --ramp-from 0 --ramp-to 2 --requests 20 --warm-up 5`, "a ramp from 0 has no rate"],
  [`${url} --concurrency 1,2,3,4,5,6,7,8,9,10,11 --duration 60`, "11 levels last 660 s, and --limit-seconds 600"],
  [`${url} --duration 58 --warm-up 5s --limit-seconds 60`, "the load lasts 63 s, and --limit-seconds 60"],
])("%s is refused", (line, sentence) => {
  expect(() => levelsOf(line)).toThrow(sentence);
});

test.each([
  "--rate 0",
  "--rate x",
  "--concurrency 1,,2",
  "--warm-up 5m",
  "--warm-up 0",
  "--warm-up 0s",
  "--duration -1",
  "--request-timeout 0",
  "--limit-seconds 2147484",
  "--extra-body []",
  "--dataset x",
])("%s is refused by the command line", (line) => {
  expect(() => flagsOf(line)).toThrow(/is not a|Allowed choices/);
});

test("an address loses what the client adds itself", () => {
  expect(serverUrl("http://127.0.0.1:8000/")).toBe("http://127.0.0.1:8000");
  expect(serverUrl("https://host/base/v1/")).toBe("https://host/base");
  expect(() => serverUrl("127.0.0.1:8000")).toThrow('"127.0.0.1:8000" is not an address such as http://127.0.0.1:8000');
});

test("flags of a server of its own go before those after the dashes", () => {
  const flags = flagsOf("--shape llama3-8b --device cuda --weights e4m3");
  expect(serveFlags(flags, ["--head-format", "bf16"])).toEqual(
    "llama3-8b --load dummy --device cuda --weights e4m3 --head-format bf16".split(" "),
  );
});

test("what a result records repeats the load", () => {
  const line = `${url} --concurrency 1,4 --no-ignore-eos --warm-up 5s --extra-body {"user":"a"} --output-tokens 64 --duration 10 --slo ttft=1s`;
  const flags = withDefaults(flagsOf(`${line} --json --html page.html --name x`));
  const command = repeatCommand({ flags: recordedFlags(flags, []) });
  expect(command).not.toMatch(/html|json|name/);
  const again = flagsOf(command.replace("kvant bench serve ", "").replaceAll("'", ""));
  const { json: _, html: __, name: ___, ...asked } = flags;
  expect(withDefaults(again)).toEqual(asked);
});

test("a body with fields of a warm-up is recorded as a body", () => {
  const flags = withDefaults(flagsOf(`${url} --extra-body {"seconds":5} --requests 20 --warm-up 4`));
  expect(recordedFlags(flags, [])).toMatchObject({ "extra-body": '{"seconds":5}', "warm-up": 4 });
});

describe("an API key", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvant-key-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  test("is the first line that holds something", () => {
    const file = join(folder, "key");
    writeFileSync(file, "\n  sk-1 \nsk-2\n");
    expect(apiKey({ ...flagsOf(""), apiKeyFile: file })).toBe("sk-1");
    expect(apiKey(flagsOf(""))).toBeUndefined();
  });

  test("that is not there is refused with the file's name", () => {
    const file = join(folder, "empty");
    writeFileSync(file, "\n");
    expect(() => apiKey({ ...flagsOf(""), apiKeyFile: file })).toThrow(/empty: holds no key/);
    expect(() => apiKey({ ...flagsOf(""), apiKeyFile: join(folder, "absent") })).toThrow(/absent: cannot be read/);
  });
});
