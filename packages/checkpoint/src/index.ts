export { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
export {
  CheckpointWriter,
  type CheckpointWriterOptions,
  type FinishOptions,
} from "./checkpoint-writer.ts";
export type {
  ActivationQuantization,
  CompressionFormat,
  KvQuantization,
  ModuleScheme,
} from "./compressed-tensors/module-scheme.ts";
export { packQuantized } from "./compressed-tensors/pack-quantized.ts";
export { parseQuantizationConfig, type QuantizationConfig } from "./compressed-tensors/parse-quantization-config.ts";
export {
  type QuantizationConfigOptions,
  type QuantizedModule,
  quantizationConfigJson,
} from "./compressed-tensors/quantization-config-json.ts";
export { type QuantizedWeights, quantizedWeights } from "./compressed-tensors/quantized-weights.ts";
export { storableTensor } from "./compressed-tensors/scale-layout.ts";
export { inputScaleTensor, kvScaleTensors } from "./compressed-tensors/static-scales.ts";
export { type TensorSource, unpackQuantized } from "./compressed-tensors/unpack-quantized.ts";
export { compressionFormat } from "./compressed-tensors/weight-arguments.ts";
export { encodeGgml, type GgmlType } from "./gguf/ggml-blocks.ts";
export type { GgufValue } from "./gguf/gguf-value.ts";
export { type GgufTensor, writeGguf } from "./gguf/write-gguf.ts";
export { type ModelConfig, parseModelConfig, readModelConfig } from "./model-config.ts";
export { namedShape, shapeNames } from "./named-shapes.ts";
export { readSafetensors } from "./read-safetensors.ts";
export type { RopeConfig } from "./rope-config.ts";
export { SafetensorsFile } from "./safetensors-file.ts";
export type { TensorEntry } from "./safetensors-header.ts";
export { type Dtype, dtypeBytes, type Tensor, type TensorInfo, toFloat32, toInt32 } from "./tensor.ts";
export { replaceFile } from "./write-durably.ts";
export { writeSafetensors } from "./write-safetensors.ts";
