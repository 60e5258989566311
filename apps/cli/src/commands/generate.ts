import { KvantError } from "@kvant/core";
import { createEngine, type GenerateRequest } from "@kvant/engine";
import { engineOptions, type ModelFlags, type SizeFlags, servingDefaults } from "../model-options.ts";
import { modelLines, printRow, say } from "../print.ts";
import { loadingBar } from "../progress.ts";

export interface GenerateFlags extends ModelFlags, SizeFlags {
  readonly prompt?: string;
  readonly tokenIds?: readonly number[];
  readonly chat?: boolean;
  readonly maxTokens?: number;
  readonly temperature: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  readonly ignoreEos?: boolean;
  readonly printTokenIds?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

function prompt(flags: GenerateFlags): GenerateRequest["prompt"] {
  if ((flags.prompt === undefined) === (flags.tokenIds === undefined)) {
    throw new KvantError("INVALID_ARGUMENT", "give either --prompt TEXT or --token-ids 1,2,3");
  }
  if (flags.tokenIds !== undefined) {
    if (flags.chat) throw new KvantError("INVALID_ARGUMENT", "--chat reads --prompt TEXT, not --token-ids");
    return { kind: "tokens", tokenIds: flags.tokenIds };
  }
  const text = flags.prompt!;
  return flags.chat ? { kind: "chat", messages: [{ role: "user", content: text }] } : { kind: "text", text };
}

function request(flags: GenerateFlags): GenerateRequest {
  const { topP, topK, minP, repetitionPenalty, seed, stop, maxTokens, ignoreEos } = flags;
  return {
    prompt: prompt(flags),
    temperature: flags.temperature,
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(topP === undefined ? {} : { topP }),
    ...(topK === undefined ? {} : { topK }),
    ...(minP === undefined ? {} : { minP }),
    ...(repetitionPenalty === undefined ? {} : { repetitionPenalty }),
    ...(seed === undefined ? {} : { seed }),
    ...(stop === undefined ? {} : { stop }),
    ...(ignoreEos === undefined ? {} : { ignoreEos }),
  };
}

/** Generates in this process and prints text as it comes, or the token ids on one line. */
export async function generate(model: string | undefined, flags: GenerateFlags): Promise<void> {
  const wanted = request(flags);
  const bar = flags.quiet ? undefined : loadingBar();
  const options = { maxSequences: 1, ...engineOptions(model, { ...servingDefaults(model, flags), ...flags }) };
  const hooks = bar === undefined ? {} : { onProgress: bar.onProgress };
  const engine = await createEngine(options, hooks).finally(bar?.stop);
  try {
    if (!flags.quiet) {
      say(modelLines(engine.model));
      if (!engine.model.hasTokenizer) say("the model has no tokenizer: token ids are printed instead of text");
    }
    const printsIds = flags.printTokenIds || !engine.model.hasTokenizer;
    const isPlain = !printsIds && !flags.json;
    const tokenIds: number[] = [];
    let text = "";
    for await (const event of engine.generate(wanted)) {
      if (event.type === "delta") {
        tokenIds.push(...event.tokenIds);
        text += event.text;
        if (isPlain) process.stdout.write(event.text);
      } else if (event.type === "done") {
        const { prefillSeconds, decodeSeconds } = event.timings;
        const rate = decodeSeconds > 0 ? (event.usage.completionTokens - 1) / decodeSeconds : 0;
        if (isPlain) process.stdout.write("\n");
        if (flags.json) printRow({ ...engine.model, text, tokenIds, ...event.usage, ...event.timings });
        if (!flags.quiet) {
          say(
            `${event.usage.promptTokens} prompt tokens in ${(prefillSeconds * 1000).toFixed(1)} ms, ` +
              `${event.usage.completionTokens} tokens at ${rate.toFixed(1)} tok/s`,
          );
        }
      }
    }
    if (printsIds && !flags.json) process.stdout.write(`${tokenIds.join(",")}\n`);
  } finally {
    await engine.close();
  }
}
