import type { LoadResult, MachineFacts } from "../load/load-result.ts";

/** Grows when a field changes its meaning or goes; readers refuse what is newer than they are. */
export const coldResultVersion = 1;

/** Whether the model's files were in the system's page cache when the process started. */
export type StartKind = "cold" | "warm";

/** Seconds after the server's process was started, as its parent saw them. */
export interface StartMarks {
  /** Node and the command line's code are loaded; the model is next. */
  readonly loading: number;
  /** The engine holds the model. */
  readonly loaded: number;
  /** The HTTP port takes connections. */
  readonly listening: number;
  /** `/ready` says 200. */
  readonly ready: number;
  /** Of the first request, sent as soon as the server was ready. */
  readonly firstToken: number;
  /** The second token: what the first decode step gave. */
  readonly firstStep: number;
}

/** One start of a server in a process of its own. */
export interface ColdRun {
  readonly start: StartKind;
  /** Bytes of the model's files in the page cache before the start; null where the system does not tell. */
  readonly residentBytes: number | null;
  readonly at: StartMarks;
  /** Of the engine's own clock, in its process: from opening the model to having its pages. */
  readonly loadSeconds: number;
  /** From sending the first request to its first token. */
  readonly firstTokenSeconds: number;
  /** Of the first decode step, by the engine's clock, from submission to result. */
  readonly firstStepSeconds: number;
  /** The same of the decode steps of a second request, their mean: what a step costs once all is set up. */
  readonly laterStepSeconds: number;
  /** Peaks of the two processes; null where the system does not tell. */
  readonly peakResidentBytes: { readonly server: number; readonly engine: number } | null;
}

/** Of each figure by itself, over the runs of one kind. */
export interface ColdMedians {
  readonly start: StartKind;
  readonly runs: number;
  readonly at: StartMarks;
  readonly loadSeconds: number;
  readonly firstTokenSeconds: number;
  readonly firstStepSeconds: number;
  readonly laterStepSeconds: number;
  readonly peakResidentBytes: { readonly server: number; readonly engine: number } | null;
}

/** How files left the page cache: `fadvise` asks the system to drop theirs alone, `drop-caches` everybody's. */
export type EvictionMethod = "fadvise" | "drop-caches" | "none";

/** What `kvant bench cold` writes. */
export interface ColdResult {
  readonly kind: "kvant-cold";
  readonly version: typeof coldResultVersion;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly machine: MachineFacts;
  readonly software: { readonly kvant: string; readonly node: string };
  readonly model: {
    readonly id: string;
    readonly weights: string;
    readonly activations: string;
    readonly kvFormat: string;
    readonly device: string;
    readonly tier: string;
  };
  /** As given on the command line, defaults filled in; `model` is the argument that is no flag. */
  readonly flags: LoadResult["flags"];
  /** What follows `kvant serve`. */
  readonly serveArgs: readonly string[];
  /** Of both requests; no prefix is shared. */
  readonly promptTokens: number;
  /** What the loader reads of the model's folder; 0 of both for random weights. */
  readonly files: { readonly count: number; readonly bytes: number };
  readonly eviction: EvictionMethod;
  /** Why a start was left out or is not what it is called: sentences for people. */
  readonly warnings: readonly string[];
  /** In the order in which they ran: cold, warm, cold, warm. One start before them is not measured. */
  readonly runs: readonly ColdRun[];
  /** Cold before warm; a kind without runs has none. */
  readonly medians: readonly ColdMedians[];
}
