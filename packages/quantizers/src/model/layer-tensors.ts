import {
  type ActivationQuantization,
  type Checkpoint,
  type CheckpointWriter,
  compressionFormat,
  inputScaleTensor,
  kvScaleTensors,
  packQuantized,
  type Tensor,
  toFloat32,
  unpackQuantized,
} from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { encodeArray, type QuantizedTensor } from "@kvant/formats";
import type { FloatFormat } from "./fold-part.ts";
import type { FinishedLayer } from "./quantize-model.ts";
import type { LayerNote } from "./quantized-checkpoint.ts";
import { type Recipe, recipeFor } from "./recipe.ts";

const floatFormats: Readonly<Record<string, FloatFormat | undefined>> = { F32: "fp32", BF16: "bf16", F16: "fp16" };

/**
 * A finished layer as tensors of a checkpoint: codes and scales in the compressed-tensors dialect, static scales, and floats
 * in the dtype that they had.
 * @throws KvantError QUANTIZATION_UNSUPPORTED, TENSOR_SHAPE for float tensors of other dtypes
 */
export function layerTensors(
  { quantized, floats, inputScales, kv }: FinishedLayer,
  checkpoint: Pick<Checkpoint, "tensors">,
  attention: string,
  recipe: Recipe,
): ReadonlyMap<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  const add = (entries: Iterable<readonly [string, Tensor]>) => {
    for (const [name, tensor] of entries) tensors.set(name, tensor);
  };
  for (const [module, tensor] of quantized) {
    const activations = quantizedActivations(recipe, module);
    add(packQuantized(module, tensor, compressionFormat(tensor.weightFormat, activations)));
  }
  add([...inputScales].map(([module, scale]) => inputScaleTensor(module, scale)));
  if (kv !== undefined && recipe.kv !== undefined) add(kvScaleTensors(attention, recipe.kv.granularity, kv));
  add([...floats].map(([name, values]) => [name, floatTensor(name, values, checkpoint)]));
  return tensors;
}

/** How a recipe quantizes what enters a module; undefined: not at all. */
export function quantizedActivations(recipe: Recipe, module: string): ActivationQuantization | undefined {
  const answer = recipeFor(recipe, module);
  return answer.kind === "quantize" ? answer.linear.activations : undefined;
}

/** Reads a layer back that an interrupted run has written. */
export function readLayer(
  writer: Pick<CheckpointWriter, "openPart">,
  part: string,
  { modules, reports, kept }: LayerNote,
): FinishedLayer {
  const file = writer.openPart(part);
  try {
    const quantized = new Map<string, QuantizedTensor>();
    for (const { module, weightFormat, activations: each } of modules) {
      const compression = compressionFormat(weightFormat, each);
      quantized.set(module, unpackQuantized(module, { weightFormat, activations: each, compression }, file));
    }
    const names = [...file.tensors.keys()];
    const read = (name: string) => toFloat32(file.read(name), name);
    const ending = (suffix: string) => names.filter((name) => name.endsWith(suffix));
    const inputScales = new Map(
      ending(".input_scale").map((name) => [name.slice(0, -".input_scale".length), read(name)[0]!] as const),
    );
    const [k, v] = [ending(".k_scale")[0], ending(".v_scale")[0]];
    const isCode = (name: string) =>
      /\.(weight_\w+|input_scale|k_scale|v_scale)$/.test(name) || quantized.has(name.replace(/\.weight$/, ""));
    const floats = new Map(names.filter((name) => !isCode(name)).map((name) => [name, read(name)] as const));
    const kv = k === undefined || v === undefined ? undefined : { k: read(k), v: read(v) };
    return { quantized, floats, inputScales, kv, reports, kept };
  } finally {
    file.close();
  }
}

/**
 * The float format that a tensor is stored in and stays in.
 * @throws KvantError TENSOR_SHAPE for any other dtype
 */
export function storedFormat(checkpoint: Pick<Checkpoint, "tensors">, name: string): FloatFormat {
  const dtype = checkpoint.tensors.get(name)?.dtype;
  const format = dtype === undefined ? undefined : floatFormats[dtype];
  if (format !== undefined) return format;
  throw new KvantError("TENSOR_SHAPE", `tensor "${name}" has dtype ${dtype}, which is not a float format to keep`);
}

function floatTensor(name: string, values: Float32Array, checkpoint: Pick<Checkpoint, "tensors">): Tensor {
  const { dtype, shape } = checkpoint.tensors.get(name)!;
  const format = storedFormat(checkpoint, name);
  if (format === "fp32") return { dtype, shape, data: bytesOf(values) };
  return { dtype, shape, data: bytesOf(encodeArray(format, values)) };
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
