import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { writeSafetensors } from "@kvant/checkpoint";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BundledCli, bundleCli, goldenModel } from "./testing/bundled-cli.ts";

let cli: BundledCli;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvant cli ö "));
  cli = await bundleCli();
});

afterAll(() => {
  cli?.remove();
  rmSync(folder, { recursive: true, force: true });
});

const reference = ["--backend", "reference"];

function rows(stdout: string): Record<string, unknown>[] {
  expect(stdout.endsWith("\n")).toBe(true);
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** A copy of a golden model that a test may spoil. */
function copyOfModel(name: string): string {
  const copy = join(folder, name);
  cpSync(goldenModel("llama"), copy, { recursive: true });
  return copy;
}

describe("help", () => {
  test.each([
    [["--help"], 0],
    [["serve", "--help"], 0],
    [["bench", "engine", "--help"], 0],
    [["--version"], 0],
  ])("%j is an answer", async (args, expected) => {
    const { exitCode, stdout, stderr } = await cli.run(args);
    expect(exitCode).toBe(expected);
    expect(stdout).not.toBe("");
    expect(stderr).toBe("");
  });

  test.each([[[]], [["bench"]], [["serve", "--port", "99999"]], [["nonsense"]], [["doctor", "--nonsense"]]])(
    "%j is a failure that says what there is",
    async (args) => {
      const { exitCode, stdout, stderr } = await cli.run(args);
      expect(exitCode).toBe(1);
      expect(stdout).toBe("");
      expect(stderr).toMatch(/Usage|error:/);
    },
  );
});

describe("refusals are one sentence on standard error with a code", () => {
  const text = ["--prompt", "hi", ...reference];
  test.each<[string, string[], RegExp]>([
    ["an unknown weight format", [...text, "--weights", "int7"], /"int7".*fp32, bf16.*\[FORMAT_UNKNOWN\]/],
    ["an unknown KV format", [...text, "--kv-format", "int9"], /"int9".*e4m3.*\[FORMAT_UNKNOWN\]/],
    ["an unknown activation format", [...text, "--activations", "x"], /"x".*int8.*\[FORMAT_UNKNOWN\]/],
    ["an unknown device", ["--prompt", "hi", "--device", "tpu"], /"tpu".*cpu, cuda.*\[INVALID_ARGUMENT\]/],
    ["a prompt and ids", [...text, "--token-ids", "1"], /either --prompt TEXT or --token-ids/],
    ["neither", reference, /either --prompt TEXT or --token-ids/],
    ["ids with a hole", ["--token-ids", "1,,x"], /"" is not a token id/],
    ["ids that are no numbers", ["--token-ids", "1,1e1"], /"1e1" is not a token id/],
    ["an id past the vocabulary", [...reference, "--token-ids", "4096"], /4096.*0 to 4095 \[TOKEN_OUT_OF_RANGE\]/],
    ["a chat of ids", [...reference, "--chat", "--token-ids", "5"], /--chat reads --prompt/],
    ["a temperature too high", [...text, "--temperature", "9"], /temperature is 9.*0 to 2 \[REQUEST_INVALID\]/],
    ["a page pool of nothing", [...text, "--kv-pages", "1"], /1 pages is too small.*\[KV_TOO_SMALL\]/],
    ["a name of a model hub", ["org/name", ...text], /org\/name: no such folder.*downloads no models/],
    ["a GGUF file", ["model.gguf", ...text], /model\.gguf: no such folder.*not GGUF/],
    ["a shape without --load dummy", ["tinyllama-1.1b", ...text], /names a shape.*--load dummy/],
    ["an unknown shape", ["huge", "--load", "dummy", ...text], /"huge"; there are .*tinyllama-1\.1b/],
    ["text without a tokenizer", [goldenModel("llama"), ...text], /no tokenizer.*\[TOKENIZER_ABSENT\]/],
  ])("%s", async (_, args, sentence) => {
    const { exitCode, stdout, stderr } = await cli.run(["generate", "--quiet", ...args]);
    expect(stderr).toMatch(sentence);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect([exitCode, stdout]).toEqual([1, ""]);
  });

  test("a file in place of a folder, a folder without config.json, a truncated checkpoint", async () => {
    const file = join(folder, "weights.GGUF");
    writeFileSync(file, "GGUF");
    const truncated = copyOfModel("truncated");
    truncateSync(join(truncated, "model.safetensors"), 20_000);
    for (const [model, sentence] of [
      [file, /is a file.*not GGUF \[CHECKPOINT_INVALID\]/],
      [folder, /config\.json.*\[CHECKPOINT_NOT_FOUND\]/],
      [truncated, /model\.safetensors.*\[CHECKPOINT_TRUNCATED\]/],
    ] as const) {
      const { exitCode, stdout, stderr } = await cli.run(["inspect", model]);
      expect([exitCode, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(sentence);
      expect(stderr).not.toMatch(/^ +at /m);
    }
  });

  test("texts and outputs that cannot be read or written", async () => {
    const latin1 = join(folder, "latin1.txt");
    writeFileSync(latin1, Buffer.from([0x63, 0x61, 0x66, 0xe9]));
    const input = join(goldenModel("llama"), "golden.safetensors");
    const output = join(folder, "no", "such", "out.safetensors");
    for (const [args, sentence] of [
      [["eval", ...reference, "--text", join(folder, "absent.txt")], /absent\.txt.*cannot be read/],
      [["eval", ...reference, "--text", folder], /kvant cli ö .*cannot be read/],
      [["eval", ...reference, "--text", latin1], /latin1\.txt: is not UTF-8/],
      [["logits", goldenModel("llama"), "--input", input, "--output", output, ...reference], /no\/such\/out.*ENOENT/],
    ] as const) {
      const { exitCode, stdout, stderr } = await cli.run(args);
      expect([exitCode, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(sentence);
      expect(stderr).not.toMatch(/^ +at /m);
    }
  });
});

describe("generate", () => {
  test("prints text on standard output, the rest on standard error, from paths of any name", async () => {
    const args = ["generate", "tiny", ...reference, "--prompt", "It was a dark and", "--max-tokens", "6"];
    const { exitCode, stdout, stderr } = await cli.run(args);
    expect([exitCode, stdout]).toEqual([0, "\nsilent night,\n"]);
    expect(stderr).toMatch(/int8-channel/);
    expect(stderr).toMatch(/6 tokens at/);
  });

  test("prints ids for a model without a tokenizer", async () => {
    const args = ["generate", copyOfModel("löcal model"), ...reference, "--token-ids", "5, 6", "--max-tokens", "3"];
    const { exitCode, stdout, stderr } = await cli.run(args);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^\d+,\d+,\d+\n$/);
    expect(stderr).toMatch(/no tokenizer/);
  });

  test("--json prints one object and nothing else", async () => {
    const args = ["generate", ...reference, "--prompt", "Hello", "--max-tokens", "2", "--json", "--quiet"];
    const { exitCode, stdout, stderr } = await cli.run(args);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const [row, ...others] = rows(stdout);
    expect(others).toEqual([]);
    expect(row).toMatchObject({ name: "tiny", weights: "int8-channel", kvFormat: "int8", completionTokens: 2 });
    expect(row?.tokenIds).toHaveLength(2);
  });

  test("ends quietly when its reader goes away", async () => {
    const child = cli.start(["generate", ...reference, "--prompt", "Hello", "--max-tokens", "300", "--quiet"]);
    let stderr = "";
    child.stderr!.setEncoding("utf8").on("data", (text) => (stderr += text));
    child.stdout!.once("data", () => child.stdout!.destroy());
    const exitCode = await new Promise((resolve) => child.on("close", resolve));
    expect([exitCode, stderr]).toEqual([141, ""]);
  });
});

describe("inspect, doctor and eval --json", () => {
  test("inspect names formats and bytes, and prints the plan", async () => {
    const { stdout } = await cli.run(["inspect", "--weights", "int8", "--kv-format", "int8", "--json"]);
    expect(rows(stdout)).toMatchObject([
      { model: "tiny", weights: "int8-channel", activations: "int8", kvFormat: "int8", kvBytesPerToken: 2720 },
    ]);
    const plan = await cli.run(["inspect", goldenModel("mistral"), "--plan"]);
    expect(plan.exitCode).toBe(0);
    expect(plan.stdout).toMatch(/recorded plan.*\n(.*\n)+.*lowered for the CPU backend/);
  });

  test("inspect reads a named shape without weights", async () => {
    const { exitCode, stdout } = await cli.run(["inspect", "tinyllama-1.1b", "--load", "dummy", "--json"]);
    expect(exitCode).toBe(0);
    expect(rows(stdout)).toMatchObject([{ model: "tinyllama-1.1b", architecture: "LlamaForCausalLM" }]);
  });

  test("doctor lists every backend with the reason of its absence", async () => {
    const { exitCode, stdout } = await cli.run(["doctor", "--json"]);
    expect(exitCode).toBe(0);
    const backends = rows(stdout)[0]!.backends as { name: string; isPresent: boolean; reason?: string }[];
    expect(backends.map(({ name }) => name)).toEqual(expect.arrayContaining(["reference", "cpu scalar", "cuda"]));
    for (const { isPresent, reason } of backends) expect(reason === undefined).toBe(isPresent);
  });

  test("eval has a row per pair of formats with the fields that scripts read", async () => {
    const text = join(folder, "sample text.txt");
    writeFileSync(text, "\ufeffShe closed the door behind her, and the room was quite still.");
    const formats = ["--weights", "bf16,int8", "--kv-format", "bf16,e5m2"];
    const { exitCode, stdout } = await cli.run(["eval", ...reference, "--text", text, ...formats, "--json"]);
    expect(exitCode).toBe(0);
    const printed = rows(stdout);
    expect(printed.map(({ weights, kvFormat }) => `${weights} ${kvFormat}`)).toEqual([
      "bf16 bf16",
      "bf16 e5m2",
      "int8-channel bf16",
      "int8-channel e5m2",
    ]);
    const fields =
      "model weights activations kvFormat device backend tier variants tokens perplexity bitsPerByte klVsBf16Kv";
    for (const row of printed) {
      expect(Object.keys(row)).toEqual(expect.arrayContaining(fields.split(" ")));
      expect(row.klVsBf16Kv === 0).toBe(row.kvFormat === "bf16");
    }
  });

  test("bench engine has the fields that scripts read", async () => {
    const size = ["--context", "8", "--decode-tokens", "4", "--rounds", "1", "--warm-up", "0", "--batch", "2"];
    const { exitCode, stdout } = await cli.run([
      "bench",
      "engine",
      goldenModel("llama"),
      ...size,
      ...reference,
      "--json",
    ]);
    expect(exitCode).toBe(0);
    const [row] = rows(stdout);
    const fields =
      "shape weights kvFormat device batch context activations backend tier variants decodeTokensPerSecond " +
      "prefillTokensPerSecond bytesPerStep readGigabytesPerSecond probeReadGigabytesPerSecond percentOfProbe peakResidentBytes";
    expect(Object.keys(row!)).toEqual(expect.arrayContaining(fields.split(" ")));
    expect(row!.decodeTokensPerSecond).toBeGreaterThan(0);

    const both = await cli.run(["bench", "engine", goldenModel("llama"), ...size, "--weights", "fp32,bf16", "--json"]);
    expect(rows(both.stdout).map(({ weights }) => weights)).toEqual(["fp32", "bf16"]);

    const wrong = ["bench", "engine", goldenModel("llama"), ...size, "--weights", "bf16,e5m2"];
    const refused = await cli.run(wrong);
    expect(refused).toMatchObject({ exitCode: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^kvant: no weight format is called "e5m2".*\[FORMAT_UNKNOWN\]\n$/);
  });
});

describe("bench serve", () => {
  const load = [
    "bench",
    "serve",
    "--streams",
    "3",
    "--requests",
    "5",
    "--prompt-tokens",
    "20",
    "--output-tokens",
    "12",
  ];
  const serveFlags = ["--", "--backend", "reference", "--context-length", "64"];

  test("loads a server of its own and tells what clients see and processes spend", async () => {
    const { exitCode, stdout, stderr } = await cli.run([...load, "--json", ...serveFlags]);
    expect(exitCode, stderr).toBe(0);
    const [row] = rows(stdout);
    expect(row).toMatchObject({
      model: "tiny",
      streams: 3,
      requests: 5,
      failures: 0,
      device: "cpu",
    });
    expect(row!.outputTokensPerSecond).toBeGreaterThan(0);
    expect(row!.steps).toBeGreaterThanOrEqual(12);
    const { p50, p99 } = row!.interTokenSeconds as { p50: number; p99: number };
    expect(p99).toBeGreaterThanOrEqual(p50);
    if (process.platform !== "linux") return;
    for (const name of ["server", "engine"] as const) {
      expect((row![name] as { peakResidentBytes: number }).peakResidentBytes).toBeGreaterThan(1e7);
    }
  });

  test("counts what fails, says why and ends with 1", async () => {
    const { exitCode, stdout } = await cli.run([...load, "--prompt-tokens", "60", "--json", ...serveFlags]);
    expect(exitCode).toBe(1);
    const [row] = rows(stdout);
    expect(row!.failures).toBe(5);
    expect(row!.failureSentences).toEqual([expect.stringContaining("status 400")]);
  });
});

describe("logits", () => {
  test("refuses ids outside the vocabulary and inputs without input_ids", async () => {
    const input = join(folder, "ids.safetensors");
    const output = join(folder, "out.safetensors");
    const write = (name: string, ids: number[]) =>
      writeSafetensors(
        input,
        new Map([[name, { dtype: "I32", shape: [1, ids.length], data: new Uint8Array(Int32Array.from(ids).buffer) }]]),
      );
    const args = ["logits", goldenModel("llama"), "--input", input, "--output", output, ...reference];
    write("input_ids", [5, 320]);
    expect((await cli.run(args)).stderr).toMatch(/input_ids holds 320; ids run from 0 to 319 \[TOKEN_OUT_OF_RANGE\]/);
    write("ids", [5]);
    const { exitCode, stderr } = await cli.run(args);
    expect(stderr).toMatch(/no tensor "input_ids" \[TENSOR_MISSING\]/);
    expect(exitCode).toBe(1);
    expect(() => readFileSync(output)).toThrow();
  });
});

describe("serve", () => {
  test("answers, and on SIGTERM lets the running request finish before it ends with code 0", async () => {
    const ports = ["--port", "0", "--grpc-port", "0", "--log-level", "silent"];
    const child = cli.start(["serve", goldenModel("llama"), ...reference, ...ports]);
    const ended = new Promise((resolve) => child.on("close", resolve));
    const lines: string[] = [];
    const address = await new Promise<string>((resolve, reject) => {
      child.once("close", () => reject(new Error(lines.join("\n"))));
      createInterface({ input: child.stderr! }).on("line", (line) => {
        lines.push(line);
        const found = /ready at (http:\S+?),? /.exec(`${line} `);
        if (found !== null) resolve(found[1]!);
      });
    });
    const body = { model: "llama", prompt: [5, 6, 7], max_tokens: 200, temperature: 0, ignore_eos: true, stream: true };
    const answer = await fetch(`${address}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(answer.status).toBe(200);
    child.kill("SIGTERM");
    expect(await answer.text()).toContain("data: [DONE]");
    expect(await ended).toBe(0);
    expect(lines.at(-1)).toMatch(/drained.*0 of them were cut off/);
  });
});
