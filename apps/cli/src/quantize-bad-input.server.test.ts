// What `kvant quantize` does with input that is bad or odd: a sentence and no output, or a checkpoint that runs.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint, readSafetensors, toFloat32, writeSafetensors } from "@kvant/checkpoint";
import { tinyModelPath } from "@kvant/tiny-model";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BundledCli, bundleCli, goldenModel } from "./testing/bundled-cli.ts";

/** [64, 176], in the last layer: every other layer is written before it is seen. */
const lastWeights = "model.layers.1.mlp.down_proj.weight";
const columns = 176;
const int4 = ["--scheme", "int4", "--granularity", "group:16"];

let cli: BundledCli;
let folder: string;
let text: string;
/** Where outputs go: a test that leaves something there has left something behind. */
let outputs: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvant bad input ö "));
  text = join(folder, "calibration.txt");
  writeFileSync(text, "She closed the door behind her, and the room was quite still. Nobody spoke. ".repeat(20));
  outputs = join(folder, "outputs");
  mkdirSync(outputs);
  cli = await bundleCli();
});
afterAll(() => {
  cli?.remove();
  rmSync(folder, { recursive: true, force: true });
});

/** A copy of a model, its weights changed in place. */
function changedModel(name: string, from: string, tensor: string, change: (values: Float32Array) => void): string {
  const copy = join(folder, name);
  cpSync(from, copy, { recursive: true });
  const path = join(copy, "model.safetensors");
  const { tensors } = readSafetensors(path);
  const { shape } = tensors.get(tensor)!;
  const values = toFloat32(tensors.get(tensor)!).slice();
  change(values);
  const data = new Uint8Array(values.buffer);
  writeSafetensors(path, new Map([...tensors, [tensor, { dtype: "F32", shape, data }]]));
  return copy;
}

const changedGolden = (name: string, change: (values: Float32Array) => void) =>
  changedModel(name, goldenModel("llama"), lastWeights, change);

async function quantize(model: string, name: string, args: readonly string[]) {
  return cli.run(["quantize", model, "--out", join(outputs, name), ...args, "--json"]);
}

async function expectRefusal(model: string, args: readonly string[], ...sentences: readonly string[]): Promise<void> {
  const { exitCode, stdout, stderr } = await quantize(model, "refused", args);
  expect(exitCode, stderr).toBe(1);
  for (const sentence of sentences) expect(stderr).toContain(sentence);
  expect(stdout).toBe("");
  const left = readdirSync(outputs).filter((name) => name.startsWith("refused"));
  for (const name of left) rmSync(join(outputs, name), { recursive: true });
  expect(left).toEqual([]);
}

async function expectToRun(model: string, name: string, args: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await quantize(model, name, args);
  expect(exitCode, stderr).toBe(0);
  const out = join(outputs, name);
  const checkpoint = openCheckpoint(out);
  const scales = checkpoint.readFloat32(`${lastWeights}_scale`);
  checkpoint.close();
  expect(
    scales.every((scale) => Number.isFinite(scale) && scale >= 0),
    "a scale is not a number of at least 0",
  ).toBe(true);
  const report = JSON.parse(readFileSync(join(out, "quantization-report.json"), "utf8"));
  expect(report.linears).toHaveLength(14);
  const ids = ["--token-ids", "1,20,30", "--max-tokens", "2", "--ignore-eos", "--json"];
  const generated = await cli.run(["generate", out, ...ids]);
  expect(generated.exitCode, generated.stderr).toBe(0);
}

describe("weights that are not finite", () => {
  test.each([
    ["NaN", Number.NaN],
    ["an infinity", Number.NEGATIVE_INFINITY],
  ])("%s in the last layer is refused with tensor, index and value, and nothing is left", async (_, value) => {
    const model = changedGolden(`not finite ${value}`, (values) =>
      values.fill(value, columns * 3 + 1, columns * 3 + 2),
    );
    const index = columns * 3 + 1;
    for (const method of ["absmax", "percentile", "mse", "entropy"]) {
      await expectRefusal(
        model,
        [...int4, "--method", method],
        "WEIGHT_NOT_FINITE",
        `"${lastWeights}": element ${index} is ${value}`,
      );
    }
  });

  test("methods that run the model refuse them too", async () => {
    const name = "model.layers.1.mlp.down_proj.weight";
    const model = changedModel("tiny not finite", tinyModelPath, name, (values) => values.fill(Number.NaN, 5, 6));
    const short = ["--calibration", text, "--samples", "2", "--sample-tokens", "64"];
    for (const method of ["gptq", "awq", "awq+gptq", "smoothquant"]) {
      const scheme =
        method === "smoothquant"
          ? ["--scheme", "w8a8-int8", "--granularity", "channel"]
          : ["--scheme", "int4", "--granularity", "group:128"];
      await expectRefusal(
        model,
        [...scheme, "--method", method, ...short],
        "WEIGHT_NOT_FINITE",
        `"${name}": element 5 is NaN`,
      );
    }
  });
});

describe("weights that are odd are quantized, and what is written runs", () => {
  test("rows of zeros, all rows too", async () => {
    const rows = changedGolden("zero rows", (values) => values.fill(0, columns, 4 * columns));
    const all = changedGolden("all zero", (values) => values.fill(0));
    for (const method of ["absmax", "mse"]) {
      await expectToRun(rows, `zero rows ${method}`, [...int4, "--method", method]);
      await expectToRun(all, `all zero ${method}`, [...int4, "--method", method]);
    }
    await expectToRun(all, "all zero affine", [...int4, "--method", "absmax", "--affine"]);
  });

  test("constant rows and columns", async () => {
    const model = changedGolden("constant", (values) => {
      values.fill(0.25, 0, 2 * columns);
      for (let at = 7; at < values.length; at += columns) values[at] = -3;
    });
    await expectToRun(model, "constant absmax", [...int4, "--method", "absmax"]);
    await expectToRun(model, "constant affine", [...int4, "--method", "mse", "--affine"]);
    await expectToRun(model, "constant channel", [
      "--scheme",
      "int8",
      "--granularity",
      "channel",
      "--method",
      "entropy",
    ]);
  });

  test("groups that do not divide the axis end in a shorter one", async () => {
    // 64 and 176 columns.
    await expectToRun(goldenModel("llama"), "ragged int4", [
      "--scheme",
      "int4",
      "--granularity",
      "group:48",
      "--method",
      "mse",
    ]);
    await expectToRun(goldenModel("llama"), "ragged int3", [
      "--scheme",
      "int3",
      "--granularity",
      "group:24",
      "--method",
      "absmax",
    ]);
  });
});

const namespace = ["--user", "--map-root-user", "--mount"];
const mountRefused =
  spawnSync("unshare", [...namespace, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmpdir()]).status === 0
    ? undefined
    : "SKIPPED: this machine lets no test mount a small file system (unshare --user --mount)";
if (mountRefused !== undefined) console.warn(mountRefused);

describe.skipIf(mountRefused !== undefined)(mountRefused ?? "a disk that is full", () => {
  // The layers' parts take 120 kB, all parts 240 kB, and the shard beside them as much again.
  test.each(["16k", "128k", "448k"])(
    "of %s is an error that says so, without a checkpoint; with room the run goes on",
    (size) => {
      const disk = join(folder, `disk ${size}`);
      mkdirSync(disk);
      const args = [
        "quantize",
        goldenModel("llama"),
        "--out",
        join(disk, "out"),
        ...int4,
        "--method",
        "absmax",
        "--json",
      ];
      // What lies on the small disk is seen from inside alone.
      const script = `
      mount -t tmpfs -o size=${size} tmpfs "$0" || exit 99
      "$@" > /dev/null; echo "exit $?"; ls -A "$0"
      mount -o remount,size=4m "$0" && "$@" > /dev/null 2>&1; echo "exit $?"; ls -A "$0"; sha256sum < "$0/out/model.safetensors"`;
      const child = [process.execPath, cli.entry, ...args];
      const { stdout, stderr } = spawnSync("unshare", [...namespace, "sh", "-c", script, disk, ...child], {
        encoding: "utf8",
      });
      expect(stderr).toContain("the disk is full (ENOSPC");
      expect(stderr).toContain("[DISK_FULL]");
      const parts = size === "16k" ? [] : ["out.partial"];
      expect(stdout.trimEnd().split("\n")).toEqual(["exit 1", ...parts, "exit 0", "out", `${wholeDigest()}  -`]);
    },
  );

  /** Of the weights that a run with room enough writes. */
  function wholeDigest(): string {
    const out = join(folder, "whole");
    if (!existsSync(out)) {
      const args = ["quantize", goldenModel("llama"), "--out", out, ...int4, "--method", "absmax"];
      expect(spawnSync(process.execPath, [cli.entry, ...args]).status).toBe(0);
    }
    return createHash("sha256")
      .update(readFileSync(join(out, "model.safetensors")))
      .digest("hex");
  }
});

describe("what else cannot be done", () => {
  const gptq = ["--scheme", "int4", "--granularity", "group:128", "--method", "gptq"];

  test("a group that is no number of values is refused", async () => {
    for (const group of ["group:0", "group:-4", "group:1.5", "group:", "group:x"]) {
      await expectRefusal("tiny", ["--scheme", "int4", "--granularity", group, "--method", "absmax"], group);
    }
  });

  test("calibration text that is not there, is empty or is too short is refused with the file or the counts", async () => {
    const empty = join(folder, "empty.txt");
    const lines = join(folder, "lines.jsonl");
    writeFileSync(empty, "");
    writeFileSync(lines, '{"title": "no text"}\n');
    const absent = join(folder, "absent.txt");
    await expectRefusal("tiny", gptq, "needs calibration text");
    await expectRefusal("tiny", [...gptq, "--calibration", absent], absent);
    await expectRefusal("tiny", [...gptq, "--calibration", empty], empty);
    await expectRefusal("tiny", [...gptq, "--calibration", lines], lines);
    await expectRefusal("tiny", [...gptq, "--calibration", text, "--samples", "500"], "not for 500");
    await expectRefusal(goldenModel("llama"), [...int4, "--method", "gptq", "--calibration", text], "TOKENIZER_ABSENT");
  });

  test("a text for the report that is not there is found before the work", async () => {
    const absent = join(folder, "absent.txt");
    await expectRefusal("tiny", [...int4, "--method", "absmax", "--eval", absent], absent);
  });

  test("a folder or a file in the place of the output stays as it is", async () => {
    const taken = join(outputs, "taken");
    mkdirSync(taken);
    writeFileSync(join(taken, "mine"), "mine");
    const file = join(outputs, "taken file");
    writeFileSync(file, "mine");
    for (const name of ["taken", "taken file"]) {
      const { exitCode, stderr } = await quantize("tiny", name, [...int4, "--method", "absmax"]);
      expect(exitCode).toBe(1);
      expect(stderr).toContain("exists; name another folder or remove it");
    }
    expect(readdirSync(taken)).toEqual(["mine"]);
    expect(readFileSync(file, "utf8")).toBe("mine");
    expect(
      readdirSync(outputs)
        .filter((name) => name.startsWith("taken"))
        .sort(),
    ).toEqual(["taken", "taken file"]);
  });
});
