import type { WeightFormat } from "@kvant/formats";

/**
 * How a weight lies on disk. Names, tensors, dtypes and shapes in this folder are those of compressed-tensors
 * (github.com/vllm-project/compressed-tensors, `CompressionFormat` in src/compressed_tensors/config/base.py), as its sources have them
 * since pull request 732 of June 2026:
 *
 *     pack-quantized         weight_packed I32, codes of 2 to 8 bits bit after bit; weight_shape I64
 *     int-quantized          weight I8
 *     float-quantized        weight F8_E4M3
 *     naive-quantized        weight I8 or F8_E4M3
 *     mxfp8-quantized        weight F8_E4M3, weight_scale U8 (E8M0)
 *     mxfp4-pack-quantized   weight_packed U8, two codes a byte; weight_scale U8 (E8M0)
 *     nvfp4-pack-quantized   weight_packed U8, two codes a byte; weight_scale F8_E4M3; weight_global_scale F32
 */
export type CompressionFormat =
  | "pack-quantized"
  | "int-quantized"
  | "float-quantized"
  | "naive-quantized"
  | "mxfp8-quantized"
  | "mxfp4-pack-quantized"
  | "nvfp4-pack-quantized";

/** Activations that a layer quantizes: with a scale per token as it runs, or by the one scale in `<module>.input_scale`. */
export interface ActivationQuantization {
  readonly format: "int8" | "e4m3";
  readonly scale: "dynamic" | "static";
}

/** How one linear module is quantized. */
export interface ModuleScheme {
  readonly weightFormat: WeightFormat;
  /** `undefined`: they stay in 16 or 32 bit. */
  readonly activations: ActivationQuantization | undefined;
  readonly compression: CompressionFormat;
}

/** Static scales of the KV cache: `k_scale` and `v_scale` of each attention module, one per tensor or one per head. */
export interface KvQuantization {
  readonly format: "int8" | "e4m3";
  readonly granularity: "tensor" | "head";
}
