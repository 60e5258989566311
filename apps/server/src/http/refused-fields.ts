import { KvantError } from "@kvant/core";
import { shorten } from "../schema-fault.ts";

interface RefusedField {
  /** Values that ask for nothing and may pass. */
  readonly harmless: (value: unknown) => boolean;
  readonly reason: string;
}

const absent = (value: unknown) => value === undefined || value === null;
const empty = (value: unknown) => absent(value) || value === "" || (Array.isArray(value) && value.length === 0);

/**
 * Known parameters that this server does not do and whose silent loss would change what a client gets. All other unknown
 * fields are ignored, since OpenAI's clients send many.
 */
const refusedFields: Readonly<Record<string, RefusedField>> = {
  suffix: { harmless: empty, reason: "no model here fills in the middle" },
  tools: { harmless: empty, reason: "tools are not served" },
  functions: { harmless: empty, reason: "functions are not served" },
  response_format: {
    harmless: (value) => absent(value) || (typeof value === "object" && Reflect.get(Object(value), "type") === "text"),
    reason: 'only {"type": "text"} is served',
  },
  modalities: {
    harmless: (value) => absent(value) || (Array.isArray(value) && value.every((mode) => mode === "text")),
    reason: 'only ["text"] is served',
  },
  audio: { harmless: absent, reason: "audio is not served" },
  prediction: { harmless: absent, reason: "predicted outputs are not served" },
  web_search_options: { harmless: absent, reason: "web search is not served" },
  structured_outputs: { harmless: absent, reason: "constrained decoding is not served" },
  guided_json: { harmless: absent, reason: "constrained decoding is not served" },
  guided_regex: { harmless: absent, reason: "constrained decoding is not served" },
  guided_choice: { harmless: absent, reason: "constrained decoding is not served" },
  guided_grammar: { harmless: absent, reason: "constrained decoding is not served" },
  prompt_logprobs: { harmless: absent, reason: "log probabilities of prompt tokens are not computed" },
};

/** Throws REQUEST_INVALID for the first refused field that asks for something. */
export function checkRefusedFields(body: object): void {
  for (const [field, { harmless, reason }] of Object.entries(refusedFields)) {
    const value: unknown = Reflect.get(body, field);
    if (!harmless(value))
      throw new KvantError("REQUEST_INVALID", `${field} is ${shorten(value)}; ${reason}`, { field });
  }
}
