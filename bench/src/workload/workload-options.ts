/** Where prompts come from. */
export const datasetNames = [
  "random",
  "sharegpt",
  "jsonl",
  "prompts-by-length",
  "shared-prefix",
  "conversation",
  "trace",
] as const;

export type DatasetName = (typeof datasetNames)[number];

/**
 * A workload in plain words, one field per flag of `kvant bench serve`; `workloadFromOptions` in `workload-from-options.ts` makes
 * the `Workload`. Distributions and arrivals are spelled as on the command line:
 *
 *     tokens      512 | 200-800 | normal:512:64 | lognormal:512:0.5 | file:PATH
 *                 exactly | uniform, ends included | mean, deviation | median, deviation of the logarithm | drawn from a file:
 *                 one integer per line, or a trace, of which the flag's own column counts
 *     seconds     2 | 1-5 | normal:2:0.5 | lognormal:2:0.5 | exponential:2
 *     arrivals    closed | constant | poisson | gamma:BURSTINESS | trace
 */
export interface WorkloadOptions {
  /** `--dataset`, `random` unless given. */
  readonly dataset?: DatasetName;
  /**
   * `--dataset-file`: for sharegpt a JSON array of `{conversations: [{from, value}]}`; for jsonl a line each with one of `prompt`,
   * `text`, `messages`, `turns`, `question`; for prompts-by-length an object from token counts to texts; for trace an Azure or
   * BurstGPT CSV or Mooncake JSON lines; for conversation sharegpt or jsonl with `turns` or `messages`, or no file: synthetic turns.
   */
  readonly datasetFile?: string;
  /**
   * `--input-tokens`: of a prompt, of what follows the shared prefix, of one user turn of a synthetic conversation; 512 unless
   * given. With prompts-by-length the text of the nearest length is taken, and any text unless given. Other datasets bring theirs.
   */
  readonly inputTokens?: string;
  /**
   * `--output-tokens`. Unless given: as the trace says; the length of the recorded answer (about 4 bytes a token) for sharegpt; 128
   * for the others.
   */
  readonly outputTokens?: string;
  /**
   * `--max-input-tokens`: synthetic prompts and those of a trace are cut to it, longer texts of files left out. The description
   * names the limit, and counts what it met where that is known beforehand: texts of files and requests of a trace.
   */
  readonly maxInputTokens?: number;
  /** `--max-output-tokens`: longer answers are cut to it; the description names and counts likewise. */
  readonly maxOutputTokens?: number;
  /**
   * Answers have their full length whatever the model would say. Unless given: true where the length is the workload (random,
   * prompts-by-length, shared-prefix, trace, synthetic conversations), false where texts of files are answered.
   */
  readonly ignoreEos?: boolean;
  /** Where it is known, synthetic prompts are ids of exactly the length drawn; else words of about as many tokens. */
  readonly vocabularySize?: number;
  /** `--dataset-order`: texts of files are drawn by the seed (`shuffled`, unless given) or as they stand (`file`). */
  readonly datasetOrder?: "shuffled" | "file";
  /** `--prefix-families` of shared-prefix, 8 unless given. */
  readonly prefixFamilies?: number;
  /** `--prefix-tokens` of shared-prefix, 512 unless given. */
  readonly prefixTokens?: number;
  /** `--turns` of a synthetic conversation (spelled as tokens are), 4 unless given. Conversations of files bring theirs. */
  readonly turns?: string;
  /** `--think-time`: seconds from the end of an answer to the next turn of its conversation, 0 unless given. */
  readonly thinkSeconds?: string;

  /** `--requests`: at most so many, turns of conversations counted one by one. */
  readonly requests?: number;
  /**
   * `--duration`: in an open loop nothing is due at or after it. One of requests and duration must be given, but for a trace,
   * which ends by itself; a closed loop with a duration alone never ends by itself: the load's clock ends it.
   */
  readonly durationSeconds?: number;
  /**
   * `--arrival`. Unless given: `poisson` with a rate or a ramp, `trace` for a trace without either, else `closed`. A closed loop has
   * no due times: the client sends when a stream is free. With another arrival than `trace` a trace lends its lengths alone.
   */
  readonly arrival?: string;
  /** `--rate`: arrivals per second. */
  readonly rate?: number;
  /**
   * `--ramp-from`, `--ramp-to`: arrivals per second at the start and the end of the load, linear between; in place of a rate. The
   * end is the duration, or without one as long as the requests take at the mean of both; what is left then comes at the last rate.
   */
  readonly rampFrom?: number;
  readonly rampTo?: number;
  /** Seconds before the ramp, at its first rate, in which a load warms up; 0 unless given. Duration and requests count them in. */
  readonly rampDelaySeconds?: number;
  /** `--time-scale`: gaps of a replayed trace are multiplied by it, so that 0.5 replays at twice the rate; 1 unless given. */
  readonly timeScale?: number;
  /** `--start-offset`: seconds of a trace, in its own time, that are left out at its start; 0 unless given. */
  readonly startOffsetSeconds?: number;
  /** `--seed`: the same options and seed give the same requests, byte for byte; an integer from 0 to 2^32 - 1, 0 unless given. */
  readonly seed?: number;
}
