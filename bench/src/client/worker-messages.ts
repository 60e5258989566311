import type { ErrorCode } from "@kvant/core";
import type { RequestRecord } from "../load/request-record.ts";
import type { Dialogue } from "./load-driver.ts";
import type { LoadTarget } from "./load-target.ts";

// What a load and its processes say to each other, over an IPC channel that carries structured clones (typed arrays, bigint).

export type ToWorker =
  /** Be a client of this server. Answered with `ready`. */
  | { readonly type: "open"; readonly target: LoadTarget }
  | { readonly type: "start"; readonly start: WorkerStart }
  | { readonly type: "dialogues"; readonly dialogues: readonly Dialogue[] }
  /** The plan is used up. */
  | { readonly type: "complete" }
  /** End everything now. */
  | { readonly type: "cancel" }
  /** Be the scripted server instead. Answered with `serving`. */
  | { readonly type: "serve" }
  /** As the scripted server, do nothing at all for so long. */
  | { readonly type: "stall"; readonly seconds: number }
  /** As the scripted server, tell when chunks were written. Answered with `sent-times`. */
  | { readonly type: "sent-times" };

export type FromWorker =
  | { readonly type: "ready" }
  | { readonly type: "failed"; readonly code: ErrorCode; readonly message: string }
  /** So many more dialogues have begun. */
  | { readonly type: "taken"; readonly count: number }
  | { readonly type: "report"; readonly report: WorkerReport }
  /** After its last report: nothing is open and nothing will come. */
  | { readonly type: "idle"; readonly load: WorkerLoad }
  | { readonly type: "serving"; readonly port: number }
  | { readonly type: "sent-times"; readonly times: SentTimes };

export interface WorkerStart {
  /** The start of the load by `process.hrtime`. */
  readonly startNanoseconds: bigint;
  /** Of a closed loop, this worker's part of them. */
  readonly users: number | undefined;
  /** Infinity: none. */
  readonly stopAt: number;
  readonly deadlineSeconds: number;
}

/** Since the report before. */
export interface WorkerReport {
  readonly records: readonly RequestRecord[];
  readonly sent: number;
  readonly chunks: number;
  /** [n] seconds from due; the first so many of the report, as all live figures. */
  readonly firstTokens: Float32Array;
  /** [n] seconds */
  readonly gaps: Float32Array;
}

export interface WorkerLoad {
  /** Share of its time in which its event loop was not waiting. */
  readonly busyShare: number;
  readonly busySeconds: number;
  readonly loopDelayP99Seconds: number;
}

/** By the id of the script: [chunks] nanoseconds of `process.hrtime` right before each chunk was written. */
export type SentTimes = ReadonlyMap<number, Float64Array>;
