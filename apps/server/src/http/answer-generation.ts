import { KvantError } from "@kvant/core";
import type { GenerateRequest, Usage } from "@kvant/engine";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { ServerContext } from "../server-context.ts";
import { type Choice, collectChoices } from "./collect-choices.ts";
import { SseStream } from "./sse-stream.ts";
import { type ChunkWriter, streamChoices } from "./stream-choices.ts";

/** How one route answers: its requests to the engine and the shapes of its answers. */
export interface AnswerPlan {
  readonly requests: readonly GenerateRequest[];
  readonly stream: boolean;
  readonly chunks: () => ChunkWriter;
  readonly body: (choices: readonly Choice[], usage: Usage) => object;
}

/** Runs a plan for one HTTP request and answers it, whole or as a stream. The engine is left as soon as the client leaves. */
export async function answerGeneration(
  { gate, keepAliveMilliseconds }: ServerContext,
  request: FastifyRequest,
  reply: FastifyReply,
  plan: AnswerPlan,
): Promise<FastifyReply> {
  const generation = gate.open();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) generation.abort(new KvantError("CANCELLED", "the client closed the connection"));
  });
  try {
    if (!plan.stream) {
      const { choices, usage } = await collectChoices(generation, plan.requests);
      request.usage = usage;
      return reply.send(plan.body(choices, usage));
    }
    const stream = new SseStream(reply, keepAliveMilliseconds);
    try {
      request.usage = await streamChoices(generation, plan.requests, plan.chunks(), stream);
    } catch (error) {
      if (!stream.isOpen) throw error;
      request.streamError = error;
    }
    return reply;
  } finally {
    generation.end();
  }
}
