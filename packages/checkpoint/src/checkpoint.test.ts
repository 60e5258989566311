import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sharedData, sharedDataAbsent } from "../test/shared-data.ts";
import { temporaryFolder } from "../test/temporary-folder.ts";
import { openCheckpoint, readModelConfig, readSafetensors, type Tensor, toInt32, writeSafetensors } from "./index.ts";

const root = temporaryFolder();

function tensor(...values: number[]): Tensor {
  return { dtype: "F32", shape: [values.length], data: new Uint8Array(Float32Array.from(values).buffer) };
}

/** A folder with two shards and an index whose weight map has the given changes. */
function shardedFolder(name: string, changes: Record<string, unknown> = {}): string {
  const folder = join(root, name);
  mkdirSync(folder, { recursive: true });
  writeSafetensors(join(folder, "model-1-of-2.safetensors"), new Map([["a", tensor(1, 2)]]));
  writeSafetensors(join(folder, "model-2-of-2.safetensors"), new Map([["b", tensor(3)]]));
  const weightMap = { a: "model-1-of-2.safetensors", b: "model-2-of-2.safetensors", ...changes };
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: weightMap }));
  return folder;
}

test("a single file and a sharded checkpoint read alike", () => {
  const single = join(root, "single");
  mkdirSync(single);
  writeSafetensors(
    join(single, "model.safetensors"),
    new Map([
      ["a", tensor(1, 2)],
      ["b", tensor(3)],
    ]),
  );
  for (const folder of [single, shardedFolder("good")]) {
    const checkpoint = openCheckpoint(folder);
    expect([...checkpoint.tensors.keys()].sort()).toEqual(["a", "b"]);
    expect(checkpoint.tensors.get("a")).toMatchObject({ name: "a", dtype: "F32", shape: [2], bytes: 8 });
    expect(checkpoint.read("b")).toEqual(tensor(3));
    expect(checkpoint.readRows("a", 1, 1)).toEqual(tensor(2));
    expect(checkpoint.readFloat32("a")).toEqual(new Float32Array([1, 2]));
    expect(() => checkpoint.read("c")).toThrow(`${folder}: there is no tensor "c"`);
    checkpoint.close();
    expect(() => checkpoint.read("a")).toThrow("is closed");
  }
});

test("a folder without weights is refused", () => {
  expect(() => openCheckpoint(join(root, "absent"))).toThrow("holds neither model.safetensors nor");
});

test.each([
  "../model-1-of-2.safetensors",
  "/etc/model.safetensors",
  "..\\model.safetensors",
  "C:model.safetensors",
  "inner/model.safetensors",
  ".safetensors",
  "..safetensors",
  "model.bin",
  "model\0.safetensors",
  "",
  7,
  null,
])("a shard named %j is refused", (shard) => {
  const folder = shardedFolder("escape", { a: shard });
  expect(() => openCheckpoint(folder)).toThrow(
    /places tensor "a" in .*, which is not the name of a \.safetensors file/,
  );
});

test("an index that contradicts its shards is refused", () => {
  expect(() => openCheckpoint(shardedFolder("missing-shard", { a: "model-3.safetensors" }))).toThrow(
    /model-3\.safetensors: cannot be opened/,
  );
  expect(() => openCheckpoint(shardedFolder("listed", { c: "model-2-of-2.safetensors" }))).toThrow(
    'places tensor "c" in model-2-of-2.safetensors, which does not hold it',
  );
  const unlisted = shardedFolder("unlisted");
  writeSafetensors(
    join(unlisted, "model-2-of-2.safetensors"),
    new Map([
      ["b", tensor(3)],
      ["d", tensor(4)],
    ]),
  );
  expect(() => openCheckpoint(unlisted)).toThrow('does not list tensor "d" of model-2-of-2.safetensors');
});

test("an index that is not one is refused", () => {
  const folder = shardedFolder("broken");
  const index = join(folder, "model.safetensors.index.json");
  for (const [text, sentence] of [
    ["{", "is not JSON"],
    ["[]", "is not a JSON object"],
    ["{}", "has no object weight_map"],
    ['{"weight_map":["a"]}', "has no object weight_map"],
  ] as const) {
    writeFileSync(index, text);
    expect(() => openCheckpoint(folder)).toThrow(sentence);
  }
});

describe.each(["llama", "llama-tied", "mistral", "qwen2", "qwen3"])("the golden model %s", (name) => {
  test.skipIf(sharedDataAbsent !== undefined)(
    sharedDataAbsent ?? "opens, and its tensors have its config's shapes",
    () => {
      const folder = join(sharedData, "golden-models", name);
      const config = readModelConfig(folder);
      const checkpoint = openCheckpoint(folder);
      const shapeOf = (tensorName: string) => checkpoint.tensors.get(tensorName)?.shape;
      expect(shapeOf("model.embed_tokens.weight")).toEqual([config.vocabSize, config.hiddenSize]);
      for (let layer = 0; layer < config.layerCount; layer++) {
        const prefix = `model.layers.${layer}`;
        const queryRows = config.headCount * config.headDim;
        expect(shapeOf(`${prefix}.self_attn.q_proj.weight`)).toEqual([queryRows, config.hiddenSize]);
        expect(shapeOf(`${prefix}.self_attn.k_proj.weight`)).toEqual([
          config.kvHeadCount * config.headDim,
          config.hiddenSize,
        ]);
        expect(shapeOf(`${prefix}.mlp.down_proj.weight`)).toEqual([config.hiddenSize, config.intermediateSize]);
      }
      expect(shapeOf("lm_head.weight") === undefined).toBe(config.tieWordEmbeddings);
      expect(checkpoint.readFloat32("model.norm.weight").every(Number.isFinite)).toBe(true);
      checkpoint.close();
      const golden = readSafetensors(join(folder, "golden.safetensors")).tensors;
      expect(toInt32(golden.get("greedy")!)).toHaveLength(72);
    },
  );
});
