import type { MachineFacts } from "../load/load-result.ts";
import type { QualityRow } from "./measure-quality.ts";
import type { QualityClaim } from "./quality-claims.ts";

/** Grows when a field changes its meaning or goes. */
export const qualityResultVersion = 1;

/** What `kvant bench quality` writes: the table, and all that is needed to print it again. */
export interface QualityResult {
  readonly kind: "kvant-quality";
  readonly version: typeof qualityResultVersion;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly machine: MachineFacts;
  readonly software: { readonly kvant: string; readonly node: string };
  readonly model: string;
  /** As given on the command line, defaults filled in. */
  readonly flags: { readonly [flag: string]: string | number | boolean | readonly string[] };
  readonly rows: readonly QualityRow[];
  /** Schemes that have no row because something threw, such as a backend that lacks their kernels; absent if none did. */
  readonly failures?: readonly QualityFailure[];
  readonly claims: readonly QualityClaim[];
}

export interface QualityFailure {
  readonly scheme: string;
  /** As it was thrown, with its code. */
  readonly reason: string;
}
