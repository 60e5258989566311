import type { FinishReason, GenerateRequest, TokenLogprob, Usage } from "@kvant/engine";
import type { Generation } from "../generation-gate.ts";
import { addUsage, noUsage } from "./answer-parts.ts";

/** One finished completion. */
export interface Choice {
  /** prompt index * n + completion index. */
  readonly index: number;
  text: string;
  readonly logprobs: TokenLogprob[];
  finishReason: FinishReason;
  /** The stop string or token id that ended it. */
  stopReason: string | number | null;
}

/** Runs all prompts at once and gathers their completions in order. */
export async function collectChoices(
  generation: Generation,
  requests: readonly GenerateRequest[],
): Promise<{ choices: readonly Choice[]; usage: Usage }> {
  const choices: Choice[] = requests
    .flatMap((request) => Array.from({ length: request.n ?? 1 }))
    .map((_, index) => ({ index, text: "", logprobs: [], finishReason: "stop", stopReason: null }));
  let usage = noUsage;
  await Promise.all(
    requests.map((request, promptIndex) =>
      generation.run(request, {
        take: (event) => {
          if (event.type === "done") {
            usage = addUsage(usage, event.usage);
            return undefined;
          }
          const choice = choices[promptIndex * (request.n ?? 1) + event.index]!;
          if (event.type === "delta") {
            choice.text += event.text;
            choice.logprobs.push(...event.logprobs);
          } else {
            choice.finishReason = event.reason;
            choice.stopReason = event.stopText ?? event.stopTokenId ?? null;
          }
          return undefined;
        },
      }),
    ),
  );
  return { choices, usage };
}
