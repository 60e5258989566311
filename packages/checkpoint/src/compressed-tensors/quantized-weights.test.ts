import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseWeightFormat, quantizeAbsMax } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import {
  inputScaleTensor,
  kvScaleTensors,
  openCheckpoint,
  packQuantized,
  parseQuantizationConfig,
  quantizationConfigJson,
  quantizedWeights,
  type Tensor,
  writeSafetensors,
} from "../index.ts";

const root = temporaryFolder();
const values = Float32Array.from({ length: 8 * 64 }, (_, i) => Math.cos(i));
const up = quantizeAbsMax(values, 8, 64, parseWeightFormat("int4-g32-affine"));
const down = quantizeAbsMax(values, 8, 64, parseWeightFormat("int8-channel"));
const norm: Tensor = { dtype: "F32", shape: [2], data: new Uint8Array(8) };
const staticInt8 = { format: "int8", scale: "static" } as const;

const json = quantizationConfigJson({
  modules: [
    { module: "mlp.up_proj", weightFormat: up.weightFormat },
    { module: "mlp.down_proj", weightFormat: down.weightFormat, activations: staticInt8 },
  ],
  ignore: ["lm_head"],
  kv: { format: "e4m3", granularity: "head" },
});
const config = parseQuantizationConfig("config.json", json);
const tensors: readonly (readonly [string, Tensor])[] = [
  ...packQuantized("mlp.up_proj", up),
  ...packQuantized("mlp.down_proj", down, "int-quantized"),
  inputScaleTensor("mlp.down_proj", 0.25),
  ...kvScaleTensors("self_attn", "head", { k: Float32Array.of(1, 2), v: Float32Array.of(3, 4) }),
  ["norm.weight", norm],
  ["lm_head.weight", norm],
];

function open(name: string, changes: readonly (readonly [string, Tensor | undefined])[] = []) {
  const folder = join(root, name);
  mkdirSync(folder);
  const all = new Map<string, Tensor | undefined>([...tensors, ...changes]);
  const kept = new Map([...all].flatMap(([key, tensor]) => (tensor === undefined ? [] : [[key, tensor] as const])));
  writeSafetensors(join(folder, "model.safetensors"), kept);
  writeFileSync(join(folder, "config.json"), JSON.stringify({ quantization_config: json }));
  return openCheckpoint(folder);
}

describe("the quantized weights of a checkpoint", () => {
  test("are found with their schemes and read when asked for", () => {
    const checkpoint = open("whole");
    const weights = quantizedWeights(checkpoint, config);
    expect(Object.fromEntries(weights.modules)).toEqual({
      "mlp.down_proj": { weightFormat: down.weightFormat, activations: staticInt8, compression: "int-quantized" },
      "mlp.up_proj": { weightFormat: up.weightFormat, activations: undefined, compression: "pack-quantized" },
    });
    expect(weights.readQuantized("mlp.up_proj")).toEqual(up);
    expect(weights.readQuantized("mlp.down_proj")).toEqual(down);
    expect([...weights.inputScales]).toEqual([["mlp.down_proj", "mlp.down_proj.input_scale"]]);
    expect([...checkpoint.readFloat32("self_attn.k_scale")]).toEqual([1, 2]);
    expect(checkpoint.tensors.get("self_attn.v_scale")).toMatchObject({ dtype: "F32", shape: [2, 1, 1] });
    const rest = [...checkpoint.tensors.keys()].filter((name) => !weights.tensorNames.has(name)).sort();
    expect(rest).toEqual([
      ...["lm_head.weight", "mlp.down_proj.input_scale", "norm.weight", "self_attn.k_scale", "self_attn.v_scale"],
    ]);
    expect(() => weights.readQuantized("lm_head")).toThrow('"lm_head" is no quantized module');
    checkpoint.close();
  });

  test("are refused where configuration and tensors disagree", () => {
    const stray = open("stray", [["other.weight_scale", norm]]);
    expect(() => quantizedWeights(stray, config)).toThrow(
      '"other.weight_scale" belongs to a module that quantization_config does not quantize',
    );
    const plain = open("plain", [["mlp.down_proj.weight_scale", undefined]]);
    expect(() => quantizedWeights(plain, config)).toThrow(
      'quantizes "mlp.down_proj", whose weight is stored without scales',
    );
    const unscaled = open("unscaled", [["mlp.down_proj.input_scale", undefined]]);
    expect(() => quantizedWeights(unscaled, config)).toThrow(expect.objectContaining({ code: "SCALE_MISSING" }));
    const torn = open("torn", [["mlp.up_proj.weight_zero_point", undefined]]);
    expect(() => quantizedWeights(torn, config).readQuantized("mlp.up_proj")).toThrow(
      expect.objectContaining({ code: "TENSOR_MISSING", field: "mlp.up_proj.weight_zero_point" }),
    );
    for (const checkpoint of [stray, plain, unscaled, torn]) checkpoint.close();
  });
});
