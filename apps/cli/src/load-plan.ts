import { readFileSync } from "node:fs";
import { levelSeed, type SweepLevel, serveArguments, type WorkloadOptions, workloadFromOptions } from "@kvant/bench";
import { KvantError } from "@kvant/core";
import { flagName, measuringFlags } from "./flag-name.ts";
import type { LoadFlags, WarmUp } from "./load-flags.ts";

/** Streams of a closed loop over somebody's server, which has not asked for more. */
const defaultStreams = 16;
const defaultSeconds = 60;
/** A server of its own is measured at its limit. */
const ownServer = { streams: 256, tokens: "1000" } as const;

/** Whether the command starts the server that it loads. */
export function isOwnServer({ url, grpc }: LoadFlags): boolean {
  return url === undefined && grpc === undefined;
}

/** Flags of `kvant serve` for a server of its own. `rest` is what follows `--`. */
export function serveFlags(
  { shape, device, weights, kvFormat }: LoadFlags,
  rest: readonly string[],
): readonly string[] {
  const handedOn = (flag: string, value: string | undefined): readonly string[] =>
    value === undefined ? [] : [flag, value];
  return [
    ...(shape === undefined ? [] : [shape, "--load", "dummy"]),
    ...handedOn("--device", device),
    ...handedOn("--weights", weights),
    ...handedOn("--kv-format", kvFormat),
    ...rest,
  ];
}

/** Flags with what they come to where they were not given, so that a report can tell and repeat them. */
export function withDefaults(flags: LoadFlags): LoadFlags {
  checkFlags(flags);
  const { streams, promptTokens, ...rest } = flags;
  const isOwn = isOwnServer(flags);
  const given: LoadFlags = {
    ...rest,
    ...(streams === undefined ? {} : { concurrency: streams }),
    ...(promptTokens === undefined ? {} : { inputTokens: promptTokens }),
  };
  const isClosed = isClosedLoop(given);
  const isRandom = (given.dataset ?? "random") === "random";
  const concurrency = given.concurrency ?? [isOwn ? ownServer.streams : defaultStreams];
  const filled: LoadFlags = {
    ...(isOwn && isRandom ? { inputTokens: ownServer.tokens, outputTokens: ownServer.tokens } : {}),
    ...given,
    ...(isClosed ? { concurrency } : {}),
    ...defaultBound(given, isOwn && isClosed),
  };
  checkWarmUp(filled, isReplay(given));
  return filled;
}

/** A load always ends: a trace by itself, one stream after another where each has a request, else after a minute. */
function defaultBound(flags: LoadFlags, isOnePerStream: boolean): Pick<LoadFlags, "duration"> {
  const { requests, duration } = flags;
  if (requests !== undefined || duration !== undefined || isReplay(flags) || isOnePerStream) return {};
  return { duration: defaultSeconds };
}

function isReplay({ dataset, rate, rampFrom, arrival }: LoadFlags): boolean {
  return dataset === "trace" && rate === undefined && rampFrom === undefined && (arrival ?? "trace") === "trace";
}

function isClosedLoop({ rate, rampFrom, arrival, dataset }: LoadFlags): boolean {
  if (rate !== undefined || rampFrom !== undefined) return false;
  return (arrival ?? (dataset === "trace" ? "trace" : "closed")) === "closed";
}

function checkFlags(flags: LoadFlags): void {
  const { url, grpc, streams, concurrency, inputTokens, promptTokens, endpoint, shape, device, weights, kvFormat } =
    flags;
  const both = (a: string, b: string): KvantError => refused(`give either ${a} or ${b}, not both`);
  if (url !== undefined && grpc !== undefined) throw both("--url", "--grpc");
  if (streams !== undefined && concurrency !== undefined) throw both("--streams", "--concurrency");
  if (promptTokens !== undefined && inputTokens !== undefined) throw both("--prompt-tokens", "--input-tokens");
  if (endpoint !== undefined && grpc !== undefined) throw both("--endpoint", "--grpc");
  if (!isOwnServer(flags)) {
    const own = Object.entries({ shape, device, weights, kvFormat }).find(([, value]) => value !== undefined);
    if (own !== undefined)
      throw refused(`--${flagName(own[0])} is for a server of its own, not for one that runs already`);
  }
  if (!isClosedLoop(flags) && (streams ?? concurrency) !== undefined) {
    throw refused(`an open loop has no streams: requests go out when they are due; leave --concurrency out`);
  }
}

/** In another unit than the load's bound a warm-up could take all of it, and nothing would be measured. */
function checkWarmUp({ warmUp, duration, requests, concurrency }: LoadFlags, isReplay: boolean): void {
  if (warmUp === undefined || (isReplay && duration === undefined && requests === undefined)) return;
  if ("seconds" in warmUp && duration === undefined) {
    throw refused(
      `--warm-up ${warmUpText(warmUp)} is for a load with --duration; requests bound this one: give it as so many of them`,
    );
  }
  const isOnePerStream = duration === undefined && concurrency !== undefined;
  if ("requests" in warmUp && requests === undefined && !isOnePerStream) {
    throw refused(`--warm-up ${warmUpText(warmUp)} is for a load with --requests; time bounds this one: give it as 5s`);
  }
}

/** `http://host:port`, without `/v1` at its end; a mistake here would show as a load of failures. */
export function serverUrl(text: string): string {
  const address = URL.canParse(text) ? new URL(text) : undefined;
  if (address === undefined || !/^https?:$/.test(address.protocol)) {
    throw refused(`"${text}" is not an address such as http://127.0.0.1:8000`);
  }
  return `${address.origin}${address.pathname}`.replace(/\/+$/, "").replace(/\/v1$/, "");
}

/** The first line of a file that is not empty. */
export function apiKey({ apiKeyFile }: LoadFlags): string | undefined {
  if (apiKeyFile === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(apiKeyFile, "utf8");
  } catch (cause) {
    throw new KvantError("KEY_FILE_INVALID", `${apiKeyFile}: cannot be read`, { cause });
  }
  const key = text.split("\n").find((line) => line.trim() !== "");
  if (key === undefined) throw new KvantError("KEY_FILE_INVALID", `${apiKeyFile}: holds no key`);
  return key.trim();
}

/**
 * The loads that filled-in flags ask for, one per concurrency or rate. Each draws its requests from a seed of its own, or what
 * the first had asked would lie in the server's prefix cache when the next asks it again.
 * @param vocabularySize where prompts may be token ids
 * @throws KvantError INVALID_ARGUMENT for a workload that cannot be, and for one that the time limit would cut off
 */
export function sweepLevels(flags: LoadFlags, vocabularySize: number | undefined): readonly SweepLevel[] {
  const { concurrency, rate, rampFrom, rampTo, requests, seed } = flags;
  const points: readonly LevelPoint[] =
    rate !== undefined
      ? rate.map((requestsPerSecond) => ({ name: rateName(requestsPerSecond, flags), requestsPerSecond }))
      : rampFrom !== undefined || rampTo !== undefined
        ? [{ name: `${rampFrom} to ${rampTo} requests/s` }]
        : concurrency === undefined
          ? [{ name: "trace" }]
          : concurrency.map((streams) => ({
              name: `${streams} ${streams === 1 ? "stream" : "streams"}`,
              concurrency: streams,
            }));
  checkLimit(flags, points.length);
  return points.map((point, index) => {
    const { durationSeconds, requestLimit } = bounds(flags, point);
    if (requests !== undefined && point.concurrency !== undefined && requests < point.concurrency) {
      throw refused(`--requests ${requests} is less than --streams ${point.concurrency}`);
    }
    const workload = workloadFromOptions({
      ...workloadOptions(flags, vocabularySize),
      ...(point.requestsPerSecond === undefined ? {} : { rate: point.requestsPerSecond }),
      ...(durationSeconds === undefined ? {} : { durationSeconds }),
      ...(requestLimit === undefined ? {} : { requests: requestLimit }),
      ...rampDelay(flags),
      seed: levelSeed(seed, index),
    });
    return {
      ...point,
      workload,
      ...(durationSeconds === undefined ? {} : { durationSeconds }),
      ...(requestLimit === undefined ? {} : { requestLimit }),
    };
  });
}

/** A load that is cut off by its limit ends with failures that are no fault of the server. */
function checkLimit({ duration, warmUp, limitSeconds }: LoadFlags, levelCount: number): void {
  if (duration === undefined) return;
  const seconds = levelCount * (duration + (warmUp !== undefined && "seconds" in warmUp ? warmUp.seconds : 0));
  if (seconds <= limitSeconds) return;
  const loads = levelCount === 1 ? "the load lasts" : `${levelCount} levels last`;
  throw refused(
    `${loads} ${seconds} s, and --limit-seconds ${limitSeconds} would cut that off: give more, or less to do`,
  );
}

/** While a ramp's load warms up, its rate stays where the ramp begins. */
function rampDelay({ rampFrom, warmUp }: LoadFlags): Pick<WorkloadOptions, "rampDelaySeconds"> {
  if (rampFrom === undefined || warmUp === undefined) return {};
  if ("seconds" in warmUp) return { rampDelaySeconds: warmUp.seconds };
  if (rampFrom === 0)
    throw refused("a ramp from 0 has no rate to send the requests of --warm-up at: give it in seconds");
  return { rampDelaySeconds: warmUp.requests / rampFrom };
}

interface LevelPoint {
  readonly name: string;
  readonly concurrency?: number;
  readonly requestsPerSecond?: number;
}

function rateName(rate: number, { arrival = "poisson" }: LoadFlags): string {
  return `${rate} requests/s, ${arrival}`;
}

/** The measured part's, and what warms up before it: seconds are added to seconds, requests to requests. */
function bounds(
  { requests, duration, warmUp }: LoadFlags,
  { concurrency }: LevelPoint,
): Pick<SweepLevel, "durationSeconds" | "requestLimit"> {
  const [warmSeconds, warmRequests] = [
    warmUp !== undefined && "seconds" in warmUp ? warmUp.seconds : 0,
    warmUp !== undefined && "requests" in warmUp ? warmUp.requests : 0,
  ];
  const count = requests ?? (duration === undefined ? concurrency : undefined);
  return {
    ...(duration === undefined ? {} : { durationSeconds: duration + warmSeconds }),
    ...(count === undefined ? {} : { requestLimit: count + warmRequests }),
  };
}

function workloadOptions(flags: LoadFlags, vocabularySize: number | undefined): WorkloadOptions {
  const { dataset, datasetFile, datasetOrder, inputTokens, outputTokens, maxInputTokens, maxOutputTokens } = flags;
  const { ignoreEos, prefixFamilies, prefixTokens, turns, thinkTime, arrival, rampFrom, rampTo, timeScale } = flags;
  const options = {
    ...{ dataset, datasetFile, datasetOrder, inputTokens, outputTokens, maxInputTokens, maxOutputTokens },
    ...{ ignoreEos, prefixFamilies, prefixTokens, turns, thinkSeconds: thinkTime, vocabularySize },
    ...{ arrival, rampFrom, rampTo, timeScale, startOffsetSeconds: flags.startOffset },
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** Filled-in flags by their names on the command line, for a result; `rest` is what follows `--`. */
export function recordedFlags(
  flags: LoadFlags,
  rest: readonly string[],
): { readonly [flag: string]: string | number | boolean | readonly string[] } {
  // What every load has goes last, behind what makes this one different.
  const { seed, limitSeconds, ...asked } = flags;
  const recorded = measuringFlags({ ...asked, seed, limitSeconds }).map(([name, value]) =>
    name === "ignoreEos" && value === false ? ["no-ignore-eos", true] : [flagName(name), text(name, value)],
  );
  return Object.fromEntries([...recorded, ...(rest.length === 0 ? [] : [[serveArguments, rest]])]);
}

/** As the flag is spelled: lists with commas, a warm-up in seconds with its unit, a body as JSON. */
function text(name: string, value: unknown): string | number | boolean {
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "string") return value;
  if (Array.isArray(value)) return value.join(",");
  return name === "warmUp" ? warmUpText(value as WarmUp) : JSON.stringify(value);
}

function warmUpText(warmUp: WarmUp): string | number {
  return "seconds" in warmUp ? `${warmUp.seconds}s` : warmUp.requests;
}

function refused(reason: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", reason);
}
