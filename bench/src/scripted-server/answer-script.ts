import { KvantError } from "@kvant/core";

/** How an answer ends: as it should, without its mark, with an error in the stream, or with a connection that breaks. */
export type ScriptedEnd = "done" | "cut-off" | "error-event" | "reset";

/** An answer whose every moment is known. The text of a prompt, as JSON, is the script of its answer. */
export interface AnswerScript {
  /** By which the server remembers when it wrote the chunks. */
  readonly id: number;
  /** [chunks] seconds: from the request to the first chunk, then from each chunk to the next. */
  readonly delays: readonly number[];
  /** Told in the usage; default 1. */
  readonly tokensPerChunk?: number;
  /** Default: done. */
  readonly end?: ScriptedEnd;
  /** Refuses with this status, after the first delay. */
  readonly status?: number;
}

/** @throws KvantError REQUEST_INVALID for a prompt that is no script */
export function parseAnswerScript(prompt: unknown): AnswerScript {
  const value: unknown = typeof prompt === "string" ? JSON.parse(prompt) : prompt;
  if (!isScript(value)) {
    throw new KvantError("REQUEST_INVALID", "the prompt is no script of an answer: {id, delays: [seconds, …]} as JSON");
  }
  return value;
}

function isScript(value: unknown): value is AnswerScript {
  if (typeof value !== "object" || value === null || !("id" in value) || !("delays" in value)) return false;
  const { id, delays } = value;
  return (
    typeof id === "number" && Array.isArray(delays) && delays.every((delay) => typeof delay === "number" && delay >= 0)
  );
}
