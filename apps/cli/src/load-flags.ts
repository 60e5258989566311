import type { DatasetName } from "@kvant/bench";
import { type Command, InvalidArgumentError, Option } from "commander";
import { countList, nameList } from "./list-options.ts";
import { decimal, nonNegativeInteger, positiveInteger } from "./model-options.ts";

/** Written out, because the command line should not load the bench to print its help; a test holds it to the bench. */
export const datasets: readonly DatasetName[] = [
  "random",
  "sharegpt",
  "jsonl",
  "prompts-by-length",
  "shared-prefix",
  "conversation",
  "trace",
];

/** What comes before the measured part: so long, or so many requests. */
export type WarmUp = { readonly seconds: number } | { readonly requests: number };

/** The flags of `kvant bench serve`; names as commander derives them. */
export interface LoadFlags {
  readonly url?: string;
  readonly grpc?: string;
  readonly model?: string;
  readonly endpoint?: "chat" | "completions";
  readonly apiKeyFile?: string;
  readonly extraBody?: Readonly<Record<string, unknown>>;
  readonly temperature?: number;
  readonly tokenizer?: string;
  readonly metricsUrl?: string;

  readonly shape?: string;
  readonly device?: string;
  readonly weights?: string;
  readonly kvFormat?: string;

  readonly concurrency?: readonly number[];
  readonly streams?: readonly number[];
  readonly rate?: readonly number[];
  readonly arrival?: string;
  readonly rampFrom?: number;
  readonly rampTo?: number;
  readonly timeScale?: number;
  readonly startOffset?: number;

  readonly dataset?: DatasetName;
  readonly datasetFile?: string;
  readonly datasetOrder?: "shuffled" | "file";
  readonly inputTokens?: string;
  readonly promptTokens?: string;
  readonly outputTokens?: string;
  readonly maxInputTokens?: number;
  readonly maxOutputTokens?: number;
  readonly ignoreEos?: boolean;
  readonly vocabularySize?: number;
  readonly prefixFamilies?: number;
  readonly prefixTokens?: number;
  readonly turns?: string;
  readonly thinkTime?: string;

  readonly requests?: number;
  readonly duration?: number;
  readonly warmUp?: WarmUp;
  readonly requestTimeout?: number;
  readonly limitSeconds: number;
  readonly slo?: string;
  readonly workers?: number;
  readonly seed: number;

  readonly name?: string;
  readonly output?: string;
  readonly html?: string;
  readonly markdown?: string;
  readonly json?: boolean;
}

export function addLoadFlags(command: Command): Command {
  command
    .optionsGroup("Whom to load (neither --url nor --grpc: a kvant serve of its own):")
    .option("--url <url>", "an OpenAI-compatible server, e.g. http://127.0.0.1:8000")
    .option("--grpc <address>", "a Kvant server's gRPC port, e.g. 127.0.0.1:50051")
    .option("--model <name>", "model to ask for; default: the first that the server lists")
    .addOption(
      new Option("--endpoint <kind>", "of --url; default: chat for conversations, else completions").choices([
        "chat",
        "completions",
      ]),
    )
    .option("--api-key-file <file>", "a file with the API key")
    .option("--temperature <t>", "0, the default: greedy", decimal)
    .option("--extra-body <json>", "fields added to every request's body", jsonObject)
    .option("--tokenizer <folder>", "counts the tokens of a server that does not tell")
    .option("--metrics-url <url>", "Prometheus text of the server; default: /metrics beside --url")
    .option("--shape <name>", "own server: random weights of a named shape, e.g. llama3-8b")
    .option("--device <device>", "own server: handed to kvant serve")
    .option("--weights <format>", "own server: handed to kvant serve")
    .option("--kv-format <format>", "own server: handed to kvant serve");
  command
    .optionsGroup("How requests arrive:")
    .option("--concurrency <counts>", "closed loop of so many streams; several: a sweep; default: 16", countList)
    .option("--streams <counts>", "the same; default for a server of its own: 256", countList)
    .option("--rate <rates>", "open loop of so many requests per second; several: a sweep", rateList)
    .option("--arrival <process>", "closed, constant, poisson, gamma:BURSTINESS or trace; default with a rate: poisson")
    .option("--ramp-from <rate>", "open loop whose rate changes evenly from here", decimal)
    .option("--ramp-to <rate>", "to here", decimal)
    .option("--time-scale <factor>", "gaps of a replayed trace are multiplied by it", decimal)
    .option("--start-offset <seconds>", "seconds of a trace that are left out at its start", decimal);
  command
    .optionsGroup("What is asked:")
    .addOption(new Option("--dataset <name>", "where prompts come from; default: random").choices(datasets))
    .option("--dataset-file <file>", "of sharegpt, jsonl, prompts-by-length, trace and, if given, conversation")
    .addOption(
      new Option("--dataset-order <order>", "of texts of a file; default: shuffled").choices(["shuffled", "file"]),
    )
    .option("--input-tokens <lengths>", "512, 200-800, normal:512:64, lognormal:512:0.5 or file:PATH; default: 512")
    .option("--prompt-tokens <lengths>", "the same; default for a server of its own: 1000")
    .option("--output-tokens <lengths>", "spelled alike; default: as the dataset says, else 128; own server: 1000")
    .option("--max-input-tokens <count>", "no prompt is longer", positiveInteger)
    .option("--max-output-tokens <count>", "no answer is longer", positiveInteger)
    .option("--ignore-eos", "answers have their full length; default where lengths are the workload")
    .option("--no-ignore-eos", "answers end where the model ends them")
    .option(
      "--vocabulary-size <count>",
      "synthetic prompts are ids below it; default: as the server tells",
      positiveInteger,
    )
    .option("--prefix-families <count>", "shared-prefix: families; default: 8", positiveInteger)
    .option("--prefix-tokens <count>", "shared-prefix: tokens that a family shares; default: 512", positiveInteger)
    .option("--turns <counts>", "conversation: turns, spelled as lengths; default: 4")
    .option(
      "--think-time <seconds>",
      "conversation: 2, 1-5, exponential:2, ...: from an answer to the next turn; default: 0",
    );
  command
    .optionsGroup("How long, and against what:")
    .option(
      "--requests <count>",
      "requests of each level; default for a server of its own: one per stream",
      positiveInteger,
    )
    .option("--duration <seconds>", "of each level; default without --requests: 60", timeSpan)
    .option("--warm-up <amount>", "comes before and is not measured: 5s with --duration, 20 with --requests", warmUp)
    .option("--request-timeout <seconds>", "a request that takes longer fails; default: --limit-seconds", timeSpan)
    .option(
      "--limit-seconds <seconds>",
      "the load is ended after this long; a server of its own must be ready within as long",
      timeSpan,
      600,
    )
    .option("--slo <objectives>", "what a request must keep to be good: ttft=500ms,itl=50ms,tpot=40ms,e2e=20s")
    .option("--workers <count>", "client processes; default: half of the cores", positiveInteger)
    .option("--seed <seed>", "same seed, same requests", nonNegativeInteger, 0);
  return command
    .optionsGroup("What is written:")
    .option("--name <title>", "title of the report")
    .option("--output <file>", "the result as JSON, for kvant bench compare")
    .option("--html <file>", "a page with plots")
    .option("--markdown <file>", "the tables as Markdown")
    .option("--json", "print one JSON object per level")
    .optionsGroup("Options:");
}

/** `0.5,1,2` */
function rateList(text: string): readonly number[] {
  return nameList(text).map((part) => {
    const value = decimal(part);
    if (value <= 0) throw new InvalidArgumentError(`"${part}" is not a rate above 0.`);
    return value;
  });
}

function warmUp(text: string): WarmUp {
  const seconds = /^([\d.]+)s$/.exec(text);
  return seconds === null ? { requests: positiveInteger(text) } : { seconds: timeSpan(seconds[1]!) };
}

/** Timers hold 2^31 - 1 milliseconds; of more Node makes one. */
const mostSeconds = Math.floor((2 ** 31 - 1) / 1000);

export function timeSpan(text: string): number {
  const value = decimal(text);
  if (value > 0 && value <= mostSeconds) return value;
  throw new InvalidArgumentError(`"${text}" is not a number of seconds above 0 and up to ${mostSeconds}.`);
}

function jsonObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw new InvalidArgumentError(`"${text}" is not a JSON object.`);
}
