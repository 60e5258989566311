import { readFileSync } from "node:fs";
import { KvantError } from "@kvant/core";
import { type LoadResult, loadResultVersion } from "../load/load-result.ts";
import { fields, isNumber, isText, listOf, nullable, oneOf, optional, recordOf } from "./json-shape.ts";
import { replaceTextFile } from "./replace-text-file.ts";

const latency = fields({
  ...Object.fromEntries(
    ["count", "mean", "min", "max", "p50", "p90", "p95", "p99", "p999"].map((name) => [name, isNumber]),
  ),
  cumulative: listOf(listOf(isNumber)),
});
const numbers = listOf(isNumber);
const told = optional(listOf(nullable(isNumber)));

const level = fields({
  name: isText,
  concurrency: optional(isNumber),
  requestsPerSecond: optional(isNumber),
  seconds: isNumber,
  warmUpSeconds: optional(isNumber),
  requests: isNumber,
  completed: isNumber,
  failures: recordOf(isNumber),
  failureExamples: recordOf(isText),
  promptTokens: isNumber,
  cachedTokens: optional(isNumber),
  outputTokens: isNumber,
  countedBy: recordOf(isNumber),
  outputTokensPerSecond: isNumber,
  totalTokensPerSecond: isNumber,
  requestsCompletedPerSecond: isNumber,
  goodRequestsPerSecond: optional(isNumber),
  goodShare: optional(isNumber),
  goodShareOf: optional(isNumber),
  timeToFirstToken: optional(latency),
  interToken: optional(latency),
  timePerOutputToken: optional(latency),
  endToEnd: optional(latency),
  sendDelay: optional(latency),
  serverQueue: optional(latency),
  timeline: fields({
    binSeconds: isNumber,
    outputTokensPerSecond: numbers,
    requestsStarted: numbers,
    requestsEnded: numbers,
    failures: numbers,
    inFlight: numbers,
    server: fields({
      running: told,
      waiting: told,
      kvUsage: told,
      preemptions: told,
      residentBytes: told,
      deviceBytes: told,
    }),
  }),
  samples: fields({
    timeToFirstToken: numbers,
    timePerOutputToken: numbers,
    interTokenP99: optional(numbers),
    endToEnd: numbers,
    outputTokens: numbers,
  }),
});

const loadResult = fields({
  startedAt: isText,
  machine: fields({
    cpu: isText,
    cores: isNumber,
    memoryBytes: isNumber,
    platform: isText,
    accelerators: listOf(isText),
  }),
  software: fields({ kvant: isText, node: isText }),
  server: fields({
    target: isText,
    model: isText,
    dialect: oneOf("openai-chat", "openai-completions", "kvant-grpc"),
    software: optional(isText),
    scheme: optional(recordOf(isText)),
  }),
  flags: recordOf(() => undefined),
  seed: isNumber,
  workload: isText,
  objectives: recordOf(isNumber),
  client: fields({ workers: isNumber, tokensPerSecond: isNumber, addedP99Seconds: isNumber }),
  warnings: listOf(isText),
  levels: listOf(level),
});

/** Writes a result so that a reader sees the old file or the whole new one. */
export function writeLoadResult(path: string, result: LoadResult): void {
  replaceTextFile(path, `${JSON.stringify(result)}\n`);
}

/**
 * Reads a result back and checks it as a whole.
 * @throws KvantError INVALID_ARGUMENT, which names the file: unreadable, no JSON, no result of a load, of a newer version, or with a
 * field that is missing or of another kind
 */
export function readLoadResult(path: string): LoadResult {
  const value = parsed(path);
  const { kind, version } = (value ?? {}) as { readonly kind?: unknown; readonly version?: unknown };
  if (kind !== "kvant-load") throw refused(path, foreignKind(kind));
  if (typeof version === "number" && version > loadResultVersion) {
    throw refused(
      path,
      `has version ${version}, and this kvant reads up to ${loadResultVersion}; a newer one wrote it`,
    );
  }
  if (version !== loadResultVersion) throw refused(path, `has version ${JSON.stringify(version)}, which never was`);
  const complaint = loadResult(value, "");
  if (complaint !== undefined) throw refused(path, `is damaged: ${complaint}`);
  return value as LoadResult;
}

/** What writes results of other kinds; nothing reads those back. */
const otherCommands: ReadonlyMap<unknown, string> = new Map([
  ["kvant-cold", "kvant bench cold"],
  ["kvant-quality", "kvant bench quality"],
]);

function foreignKind(kind: unknown): string {
  const command = otherCommands.get(kind);
  if (command === undefined) return "is no result of kvant bench serve";
  return `is a result of ${command}, and this takes results of kvant bench serve`;
}

function parsed(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw refused(path, `cannot be read (${cause instanceof Error ? cause.message : cause})`, cause);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw refused(path, "is not JSON", cause);
  }
}

function refused(path: string, reason: string, cause?: unknown): KvantError {
  return new KvantError("INVALID_ARGUMENT", `${path}: ${reason}`, cause === undefined ? {} : { cause });
}
