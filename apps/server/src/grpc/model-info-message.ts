import type { ModelInfo } from "@kvant/engine";
import type { GetModelInfoResponse } from "./generated/kvant/v1/GetModelInfoResponse.ts";

export function modelInfoMessage(name: string, info: ModelInfo): GetModelInfoResponse {
  return {
    name,
    architecture: info.architecture,
    contextLength: info.contextLength,
    vocabularySize: info.vocabSize,
    weights: info.weights,
    activations: info.activations,
    kvFormat: info.kvFormat,
    device: info.device,
    backend: info.backend,
    tier: info.tier,
    threads: info.threads,
    deterministic: info.deterministic,
    hasTokenizer: info.hasTokenizer,
    hasChatTemplate: info.hasChatTemplate,
    tensorClasses: info.tensorClasses.map((row) => ({
      name: row.class,
      format: row.format,
      activations: row.activations ?? "",
      isQuantized: row.isQuantized,
      tensorCount: row.tensorCount,
      elementCount: row.elementCount,
      bytes: row.bytes,
    })),
    kvCache: {
      pageTokens: info.pageTokens,
      pageCount: info.pageCount,
      codeBytes: info.kvBytes.codes,
      scaleBytes: info.kvBytes.scales,
    },
    weightBytes: { ...info.weightBytes },
    activationBytes: info.activationBytes,
    loadSeconds: info.loadSeconds,
  };
}
