import type { ServerUnaryCall, ServerWritableStream, sendUnaryData } from "@grpc/grpc-js";
import { KvantError } from "@kvant/core";
import type { PromptInput } from "@kvant/engine";
import type { Generation } from "../generation-gate.ts";
import type { ServerContext } from "../server-context.ts";
import { chatPrompt, eventMessage, generateRequest } from "./generate-messages.ts";
import type { GenerateRequest__Output } from "./generated/kvant/v1/GenerateRequest.ts";
import type { GenerateResponse } from "./generated/kvant/v1/GenerateResponse.ts";
import type { GenerationServiceHandlers } from "./generated/kvant/v1/GenerationService.ts";
import type { TokenizeRequest__Output } from "./generated/kvant/v1/TokenizeRequest.ts";
import type { TokenizeResponse } from "./generated/kvant/v1/TokenizeResponse.ts";
import { serviceError } from "./grpc-errors.ts";
import { modelInfoMessage } from "./model-info-message.ts";

type GenerateCall = ServerWritableStream<GenerateRequest__Output, GenerateResponse>;

/** `kvant.v1.GenerationService` over the engine. */
export function generationService(context: ServerContext): GenerationServiceHandlers {
  return {
    Generate: (call) => {
      void generate(context, call);
    },
    Tokenize: unary((request) => tokenize(context, request)),
    GetModelInfo: unary(async ({ model }) => {
      context.model.check(model);
      return modelInfoMessage(context.model.name, context.model.info);
    }),
  };
}

/** A handler that answers with what a function returns or throws. */
export function unary<Request, Response>(answer: (request: Request) => Promise<Response>) {
  return (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>): void => {
    answer(call.request).then(
      (response) => callback(null, response),
      (error: unknown) => callback(serviceError(error)),
    );
  };
}

async function generate({ gate, model }: ServerContext, call: GenerateCall): Promise<void> {
  let generation: Generation | undefined;
  try {
    model.check(call.request.model);
    const request = generateRequest(call.request, model.info, millisecondsLeft(call));
    const opened = gate.open();
    generation = opened;
    call.once("cancelled", () => opened.abort(new KvantError("CANCELLED", "the client cancelled the call")));
    await opened.run(request, {
      take: (event) => {
        opened.signal.throwIfAborted();
        // While the reader is behind nothing is taken, and the engine merges what gathers.
        return call.write(eventMessage(event)) ? undefined : drained(call, opened.signal);
      },
    });
    call.end();
  } catch (error) {
    if (!call.cancelled) call.emit("error", serviceError(error));
  } finally {
    generation?.end();
  }
}

/** Milliseconds until the call's deadline; infinite where the client set none. */
function millisecondsLeft(call: GenerateCall): number {
  const deadline = call.getDeadline();
  const left = Number(deadline) - Date.now();
  return Math.max(1, left);
}

function drained(call: GenerateCall, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      call.off("drain", settle).off("close", settle);
      signal.removeEventListener("abort", settle);
      resolve();
    };
    call.once("drain", settle).once("close", settle);
    signal.addEventListener("abort", settle, { once: true });
    if (signal.aborted) settle();
  });
}

async function tokenize({ engine, model }: ServerContext, request: TokenizeRequest__Output): Promise<TokenizeResponse> {
  model.check(request.model);
  const addSpecialTokens = request.addSpecialTokens;
  const tokenIds = await engine.tokenize(
    tokenizePrompt(request),
    addSpecialTokens === undefined ? {} : { addSpecialTokens },
  );
  return { tokenIds: [...tokenIds], contextLength: model.info.contextLength };
}

function tokenizePrompt(request: TokenizeRequest__Output): PromptInput {
  if (request.prompt === "text") return { kind: "text", text: request.text ?? "" };
  if (request.prompt === "chat" && request.chat) return chatPrompt(request.chat);
  throw new KvantError("REQUEST_INVALID", "prompt is missing; one of text or chat is required", { field: "prompt" });
}
