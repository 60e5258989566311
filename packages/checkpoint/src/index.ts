export { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
export { type ModelConfig, parseModelConfig, readModelConfig } from "./model-config.ts";
export { namedShape, shapeNames } from "./named-shapes.ts";
export { readSafetensors } from "./read-safetensors.ts";
export type { RopeConfig } from "./rope-config.ts";
export { SafetensorsFile } from "./safetensors-file.ts";
export type { TensorEntry } from "./safetensors-header.ts";
export { type Dtype, dtypeBytes, type Tensor, type TensorInfo, toFloat32, toInt32 } from "./tensor.ts";
export { writeSafetensors } from "./write-safetensors.ts";
