import type { FailureKind, TokenCounter } from "./request-record.ts";

/** Grows when a field changes its meaning or goes; readers refuse what is newer than they are. */
export const loadResultVersion = 1;

/** A distribution of seconds as a report needs it; quantiles from an HDR histogram of three significant digits. */
export interface LatencySummary {
  readonly count: number;
  readonly mean: number;
  readonly min: number;
  readonly max: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  /** Points of the cumulative distribution: `[seconds, share at or below]`, ascending. */
  readonly cumulative: readonly (readonly [seconds: number, share: number])[];
}

/** One fixed load: a level of concurrency or rate. A sweep has several. */
export interface LoadLevel {
  /** `8 streams`, `4 requests/s, poisson`. */
  readonly name: string;
  readonly concurrency?: number;
  readonly requestsPerSecond?: number;
  /** Of the measured part, warm-up left out. */
  readonly seconds: number;
  /** Before the measured part, in the timeline alone; absent without a warm-up. */
  readonly warmUpSeconds?: number;
  readonly requests: number;
  readonly completed: number;
  readonly failures: { readonly [kind in FailureKind]?: number };
  /** One sentence for each kind of failure, as the server or the socket said it. */
  readonly failureExamples: { readonly [kind in FailureKind]?: string };
  readonly promptTokens: number;
  /** Of `promptTokens`, found in the server's prefix cache; absent where no answer told. */
  readonly cachedTokens?: number;
  readonly outputTokens: number;
  readonly countedBy: { readonly [counter in TokenCounter]?: number };
  readonly outputTokensPerSecond: number;
  readonly totalTokensPerSecond: number;
  readonly requestsCompletedPerSecond: number;
  /** Requests per second that kept every service level objective; absent without `--slo`. */
  readonly goodRequestsPerSecond?: number;
  readonly goodShare?: number;
  /** Requests that `goodShare` was counted over: a sample where a load had more than are kept. Absent in older files. */
  readonly goodShareOf?: number;
  /** Due to first token. */
  readonly timeToFirstToken?: LatencySummary;
  /** Between tokens: a chunk of k tokens counts k times with a k-th of its gap. */
  readonly interToken?: LatencySummary;
  /** (last token - first token) / (tokens - 1), one value per request. */
  readonly timePerOutputToken?: LatencySummary;
  /** Due to end. */
  readonly endToEnd?: LatencySummary;
  /** Due to sent: what the client itself was late. */
  readonly sendDelay?: LatencySummary;
  /** In the server's queue, where its answers tell (Kvant's gRPC). */
  readonly serverQueue?: LatencySummary;
  readonly timeline: Timeline;
  /** One row per measured request, for comparisons; at most `limit`, evenly drawn, where there are more. */
  readonly samples: {
    readonly timeToFirstToken: readonly number[];
    readonly timePerOutputToken: readonly number[];
    /** The 99th percentile of the request's own pauses between tokens. Absent in older files. */
    readonly interTokenP99?: readonly number[];
    readonly endToEnd: readonly number[];
    readonly outputTokens: readonly number[];
  };
}

/** [bins] each, over bins of `binSeconds` from the start of the load; null where the server did not tell. */
export interface Timeline {
  readonly binSeconds: number;
  readonly outputTokensPerSecond: readonly number[];
  readonly requestsStarted: readonly number[];
  readonly requestsEnded: readonly number[];
  readonly failures: readonly number[];
  readonly inFlight: readonly number[];
  readonly server: {
    readonly running?: readonly (number | null)[];
    readonly waiting?: readonly (number | null)[];
    readonly kvUsage?: readonly (number | null)[];
    readonly preemptions?: readonly (number | null)[];
    readonly residentBytes?: readonly (number | null)[];
    readonly deviceBytes?: readonly (number | null)[];
  };
}

export interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly platform: string;
  readonly accelerators: readonly string[];
}

/** What `kvant bench serve` writes: everything that is needed to read the figures, and to run them again. */
export interface LoadResult {
  readonly kind: "kvant-load";
  readonly version: typeof loadResultVersion;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly machine: MachineFacts;
  readonly software: { readonly kvant: string; readonly node: string };
  readonly server: {
    /** `http://127.0.0.1:8000` or `grpc://127.0.0.1:50051`. */
    readonly target: string;
    readonly model: string;
    readonly dialect: "openai-chat" | "openai-completions" | "kvant-grpc";
    /** What the server says of itself (`kvant_build_info`, `/version`, the `server` header), where it does. */
    readonly software?: string;
    /** Weight, activation and KV format and device, where `/v1/models` tells. */
    readonly scheme?: { readonly [name: string]: string };
  };
  /** As given on the command line, defaults filled in. */
  readonly flags: { readonly [flag: string]: string | number | boolean | readonly string[] };
  readonly seed: number;
  readonly workload: string;
  readonly objectives: { readonly [measure: string]: number };
  /** The client's own cost, measured against a server that answers at once: streamed tokens per second it can take. */
  readonly client: { readonly workers: number; readonly tokensPerSecond: number; readonly addedP99Seconds: number };
  readonly warnings: readonly string[];
  readonly levels: readonly LoadLevel[];
}
