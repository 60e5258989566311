import { isReady, type ServerContext } from "../server-context.ts";
import type { GRPCInferenceServiceHandlers } from "./generated/inference/GRPCInferenceService.ts";
import { unary } from "./generation-service.ts";

/** Health and metadata of the Open Inference Protocol, version 2, for model meshes and gateways that probe with it. */
export function inferenceService(context: ServerContext): GRPCInferenceServiceHandlers {
  const { model, version } = context;
  return {
    ServerLive: unary(async () => ({ live: true })),
    ServerReady: unary(async () => ({ ready: isReady(context) })),
    ModelReady: unary(async ({ name }) => {
      model.check(name);
      return { ready: isReady(context) };
    }),
    ServerMetadata: unary(async () => ({ name: "kvant", version, extensions: [] })),
    ModelMetadata: unary(async ({ name }) => {
      model.check(name);
      const { weights, activations, kvFormat, device, backend, contextLength } = model.info;
      return {
        name: model.name,
        versions: [],
        platform: "kvant",
        inputs: [{ name: "token_ids", datatype: "INT32", shape: [-1] }],
        outputs: [{ name: "token_ids", datatype: "INT32", shape: [-1] }],
        properties: { weights, activations, kvFormat, device, backend, contextLength: String(contextLength) },
      };
    }),
  };
}
