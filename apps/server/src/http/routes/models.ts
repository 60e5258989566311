import type { ModelInfo } from "@kvant/engine";
import { Type } from "typebox";
import { nullable } from "../../request-schema.ts";
import type { ServedModel } from "../../served-model.ts";
import type { RouteRegistration } from "../route-registration.ts";
import { errorAnswers } from "../schemas/answer-schema.ts";

const bytesByName = Type.Record(Type.String(), Type.Integer());

const kvantReport = Type.Object(
  {
    architecture: Type.String(),
    vocabulary_size: Type.Integer(),
    weights: Type.String(),
    activations: Type.String(),
    kv_format: Type.String(),
    device: Type.String(),
    backend: Type.String(),
    tier: Type.String(),
    threads: Type.Integer(),
    deterministic: Type.Boolean({ description: "Whether a request's tokens never depend on what else runs." }),
    has_tokenizer: Type.Boolean(),
    has_chat_template: Type.Boolean(),
    tensor_classes: Type.Array(
      Type.Object({
        class: Type.String(),
        format: Type.String(),
        activations: nullable(Type.String()),
        is_quantized: Type.Boolean(),
        tensor_count: Type.Integer(),
        element_count: Type.Integer(),
        bytes: Type.Integer(),
      }),
    ),
    weight_bytes: bytesByName,
    kv_cache: Type.Object({
      page_tokens: Type.Integer(),
      page_count: Type.Integer(),
      code_bytes: Type.Integer(),
      scale_bytes: Type.Integer(),
    }),
    activation_bytes: Type.Integer(),
    load_seconds: Type.Number(),
  },
  { description: "What the engine really holds: the number format of every tensor class." },
);

const modelSchema = Type.Object({
  id: Type.String(),
  object: Type.Literal("model"),
  created: Type.Integer(),
  owned_by: Type.String(),
  max_model_len: Type.Integer({ description: "Tokens of the context." }),
  kvant: kvantReport,
});

export const modelsRoute: RouteRegistration = (app, { model }) => {
  app.get(
    "/v1/models",
    {
      config: { access: "api" },
      schema: {
        tags: ["OpenAI"],
        summary: "The served model and what of it is quantized",
        response: {
          200: Type.Object({ object: Type.Literal("list"), data: Type.Array(modelSchema) }),
          ...errorAnswers,
        },
      },
    },
    () => ({ object: "list" as const, data: [modelBody(model)] }),
  );
  app.get(
    "/v1/models/:model",
    {
      config: { access: "api" },
      schema: {
        tags: ["OpenAI"],
        summary: "One model",
        params: Type.Object({ model: Type.String() }),
        response: { 200: modelSchema, ...errorAnswers },
      },
    },
    (request) => {
      model.check(request.params.model);
      return modelBody(model);
    },
  );
};

function modelBody(served: ServedModel) {
  const { info } = served;
  return {
    id: served.name,
    object: "model" as const,
    created: served.created,
    owned_by: "kvant",
    max_model_len: info.contextLength,
    kvant: reportBody(info),
  };
}

function reportBody(info: ModelInfo) {
  return {
    architecture: info.architecture,
    vocabulary_size: info.vocabSize,
    weights: info.weights,
    activations: info.activations,
    kv_format: info.kvFormat,
    device: info.device,
    backend: info.backend,
    tier: info.tier,
    threads: info.threads,
    deterministic: info.deterministic,
    has_tokenizer: info.hasTokenizer,
    has_chat_template: info.hasChatTemplate,
    tensor_classes: info.tensorClasses.map((row) => ({
      class: row.class,
      format: row.format,
      activations: row.activations ?? null,
      is_quantized: row.isQuantized,
      tensor_count: row.tensorCount,
      element_count: row.elementCount,
      bytes: row.bytes,
    })),
    weight_bytes: info.weightBytes,
    kv_cache: {
      page_tokens: info.pageTokens,
      page_count: info.pageCount,
      code_bytes: info.kvBytes.codes,
      scale_bytes: info.kvBytes.scales,
    },
    activation_bytes: info.activationBytes,
    load_seconds: info.loadSeconds,
  };
}
