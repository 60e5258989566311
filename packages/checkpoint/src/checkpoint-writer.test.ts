import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../test/temporary-folder.ts";
import { CheckpointWriter, openCheckpoint, type Tensor } from "./index.ts";

const root = temporaryFolder();
const repository = fileURLToPath(new URL("../../..", import.meta.url));
const runWriter = fileURLToPath(new URL("../test/run-writer.ts", import.meta.url));
const nodeArguments = ["--import", "tsx", "--conditions=@kvant/source", runWriter];

function bytes(...values: number[]): Tensor {
  return { dtype: "U8", shape: [values.length], data: Uint8Array.from(values) };
}

function fresh(name: string): string {
  const folder = join(root, name);
  mkdirSync(folder);
  return join(folder, "out");
}

const beside = (out: string) => readdirSync(join(out, "..")).sort();

describe("a finished checkpoint", () => {
  test("holds every part, the configuration and the files that go with a model", () => {
    const out = fresh("single");
    const source = join(root, "source");
    mkdirSync(source);
    const carried = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "merges.txt", "tokenizer.model"];
    const others = [
      "generation_config.json",
      "LICENSE",
      "model.safetensors",
      "model.safetensors.index.json",
      "README.md",
    ];
    for (const name of [...carried, ...others, "config.json", ".hidden.json", "pytorch_model.bin"]) {
      writeFileSync(join(source, name), `content of ${name}`);
    }
    mkdirSync(join(source, "folder.json"));
    const writer = new CheckpointWriter(out);
    writer.writePart("layer-1", new Map([["b", bytes(4, 5)]]));
    writer.writePart("layer-0", new Map([["a", { dtype: "F32", shape: [], data: new Uint8Array(4) }]]));
    expect(existsSync(out)).toBe(false);
    writer.finish({ config: { model_type: "llama" }, copyFrom: source });
    expect(readdirSync(out).sort()).toEqual(
      [...carried, "LICENSE", "config.json", "generation_config.json", "model.safetensors"].sort(),
    );
    expect(readFileSync(join(out, "tokenizer.json"), "utf8")).toBe("content of tokenizer.json");
    expect(JSON.parse(readFileSync(join(out, "config.json"), "utf8"))).toEqual({ model_type: "llama" });
    const checkpoint = openCheckpoint(out);
    expect(checkpoint.read("b")).toEqual(bytes(4, 5));
    expect(checkpoint.tensors.get("a")).toMatchObject({ dtype: "F32", shape: [] });
    checkpoint.close();
    expect(beside(out)).toEqual(["out"]);
  });

  test("is cut into shards of a size, whatever the parts", () => {
    const out = fresh("shards");
    const writer = new CheckpointWriter(out);
    for (let part = 0; part < 5; part++) {
      writer.writePart(`layer-${part}`, new Map(["x", "y"].map((name) => [`${part}.${name}`, bytes(part, 1, 2, 3)])));
    }
    writer.writePart("layer-5", new Map([["large", bytes(...Array(30).keys())]]));
    writer.finish({ config: {}, shardBytes: 12 });
    const shards = Array.from({ length: 5 }, (_, i) => `model-0000${i + 1}-of-00005.safetensors`);
    expect(readdirSync(out).sort()).toEqual(["config.json", ...shards, "model.safetensors.index.json"].sort());
    const index = JSON.parse(readFileSync(join(out, "model.safetensors.index.json"), "utf8"));
    expect(index.metadata).toEqual({ total_size: 70 });
    expect(index.weight_map).toMatchObject({ "0.x": shards[0], "1.x": shards[0], "1.y": shards[1], large: shards[4] });
    const checkpoint = openCheckpoint(out);
    expect(checkpoint.tensors.size).toBe(11);
    expect(checkpoint.read("4.y")).toEqual(bytes(4, 1, 2, 3));
    expect(checkpoint.read("large").data[29]).toBe(29);
    checkpoint.close();
  });

  test("has the same bytes whether or not its run was interrupted", () => {
    const parts = ["c", "a", "b"].map((part, i) => [part, new Map([[`${part}.weight`, bytes(i, i, i)]])] as const);
    const [whole, resumed] = [fresh("whole"), fresh("resumed")];
    const writer = new CheckpointWriter(whole);
    for (const [part, tensors] of parts) writer.writePart(part, tensors);
    writer.finish({ config: {}, shardBytes: 4 });
    const first = new CheckpointWriter(resumed, { resumeKey: "recipe" });
    first.writePart(...parts[0]!);
    first.abort();
    expect(beside(resumed)).toEqual(["out.partial"]);
    const second = new CheckpointWriter(resumed, { resumeKey: "recipe" });
    expect(["a", "b", "c"].map((part) => second.has(part))).toEqual([false, false, true]);
    const part = second.openPart("c");
    expect(part.read("c.weight")).toEqual(bytes(0, 0, 0));
    part.close();
    for (const [name, tensors] of parts.slice(1)) second.writePart(name, tensors);
    second.finish({ config: {}, shardBytes: 4 });
    expect(beside(resumed)).toEqual(["out"]);
    for (const name of readdirSync(whole)) {
      expect(readFileSync(join(resumed, name))).toEqual(readFileSync(join(whole, name)));
    }
  });
});

describe("a writer", () => {
  test("refuses a folder that exists, before it writes anything", () => {
    const out = fresh("exists");
    mkdirSync(out);
    expect(() => new CheckpointWriter(out)).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        field: "out",
        message: expect.stringContaining("exists; name"),
      }),
    );
    expect(beside(out)).toEqual(["out"]);
  });

  test("does not write over a folder that has come to exist meanwhile", () => {
    const out = fresh("late");
    const writer = new CheckpointWriter(out);
    mkdirSync(out);
    expect(() => writer.finish({ config: {} })).toThrow("exists; name another folder");
    expect(beside(out)).toEqual(["out"]);
    expect(readdirSync(out)).toEqual([]);
  });

  test("takes up parts only under their own key", () => {
    const out = fresh("keys");
    const writer = new CheckpointWriter(out, { resumeKey: "one" });
    writer.writePart("a", new Map([["a", bytes(1)]]));
    writer.abort();
    expect(() => new CheckpointWriter(out, { resumeKey: "two" })).toThrow(
      "holds an interrupted run with other settings",
    );
    expect(new CheckpointWriter(out, { resumeKey: "one" }).has("a")).toBe(true);
  });

  test("that is discarded leaves nothing, parts that could be taken up neither", () => {
    const out = fresh("discard");
    const writer = new CheckpointWriter(out, { resumeKey: "key" });
    writer.writePart("a", new Map([["a", bytes(1)]]));
    writer.discard();
    writer.abort();
    expect(beside(out)).toEqual([]);
    expect(() => writer.writePart("b", new Map())).toThrow("has finished or aborted");
  });

  test("that aborts leaves nothing, and without parts none to take up", () => {
    for (const [name, options] of [
      ["abort", {}],
      ["abort-resumable", { resumeKey: "key" }],
    ] as const) {
      const out = fresh(name);
      const writer = new CheckpointWriter(out, options);
      if (name === "abort") writer.writePart("a", new Map([["a", bytes(1)]]));
      writer.abort();
      writer.abort();
      expect(beside(out)).toEqual([]);
      expect(() => writer.writePart("b", new Map())).toThrow("has finished or aborted");
      expect(() => writer.finish({ config: {} })).toThrow("has finished or aborted");
    }
  });

  test("refuses two tensors of one name and names that leave its folder, and leaves nothing", () => {
    const out = fresh("twice");
    const writer = new CheckpointWriter(out);
    expect(() => writer.has("../a")).toThrow('"../a" is no name of a part');
    writer.writePart("a", new Map([["same", bytes(1)]]));
    writer.writePart("b", new Map([["same", bytes(2)]]));
    expect(() => writer.finish({ config: {} })).toThrow('two tensors are called "same"');
    expect(beside(out)).toEqual([]);
  });

  test("says where it cannot write", () => {
    const file = join(root, "file");
    writeFileSync(file, "");
    expect(() => new CheckpointWriter(join(file, "out"))).toThrow(
      expect.objectContaining({ code: "WRITE_FAILED", message: expect.stringContaining("cannot be written (ENOTDIR") }),
    );
  });
});

test("a run that is killed leaves no checkpoint, and the next one takes up its parts", async () => {
  const out = fresh("killed");
  const child = spawn(process.execPath, [...nodeArguments, out, "3", "hang"], {
    cwd: repository,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(child.stdout, "data");
  expect(String(line)).toBe("written\n");
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(beside(out)).toEqual(["out.partial"]);
  const writer = new CheckpointWriter(out, { resumeKey: "key" });
  expect(writer.has("part-002")).toBe(true);
  writer.finish({ config: {} });
  const checkpoint = openCheckpoint(out);
  expect(checkpoint.tensors.size).toBe(3);
  checkpoint.close();
});

const namespace = ["--user", "--map-root-user", "--mount"];
const mountRefused =
  spawnSync("unshare", [...namespace, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", root]).status === 0
    ? undefined
    : "SKIPPED: this machine lets no test mount a small file system (unshare --user --mount)";
if (mountRefused !== undefined) console.warn(mountRefused);

describe.skipIf(mountRefused !== undefined)(mountRefused ?? "on a file system of 1 MB", () => {
  // 12 parts of 100 kB do not fit; 7 do, and their shard beside them does not.
  const onSmallDisk = async (name: string, parts: number, mode: "fresh" | "resumable") => {
    const folder = join(root, name);
    mkdirSync(folder);
    const command = `mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"`;
    const child = [process.execPath, ...nodeArguments, join(folder, "out"), String(parts), mode];
    const { stdout } = await promisify(execFile)("unshare", [...namespace, "sh", "-c", command, folder, ...child], {
      cwd: repository,
    });
    rmSync(folder, { recursive: true });
    return JSON.parse(stdout) as unknown;
  };
  const full = { code: "DISK_FULL", message: expect.stringContaining("the disk is full (ENOSPC") };

  test("a part that finds no room is an error that says so, and leaves nothing", async () => {
    expect(await onSmallDisk("full-part", 12, "fresh")).toEqual({ ...full, left: [] });
  });

  test("so is a shard", async () => {
    expect(await onSmallDisk("full-shard", 7, "fresh")).toEqual({ ...full, left: [] });
  });

  test("a run that can go on keeps its parts alone", async () => {
    expect(await onSmallDisk("full-resumable", 12, "resumable")).toEqual({ ...full, left: ["out.partial"] });
  });
});
