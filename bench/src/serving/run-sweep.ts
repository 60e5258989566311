import type { LiveLoad } from "../client/load-run.ts";
import { type RunLoadOptions, runLoad } from "../client/run-load.ts";
import type { LoadLevel } from "../load/load-result.ts";
import { type LoadLevelOptions, loadLevel } from "../results/load-level.ts";
import type { Objectives } from "../results/objectives.ts";
import {
  type ServedProcess,
  type ServingCost,
  type ServingSnapshot,
  servingCost,
  servingSnapshot,
} from "./serving-cost.ts";

/** One load of several: what differs from level to level. */
export interface SweepLevel
  extends Pick<RunLoadOptions, "workload" | "concurrency" | "durationSeconds" | "requestLimit">,
    Pick<LoadLevelOptions, "name" | "requestsPerSecond"> {}

export interface RunSweepOptions
  extends Omit<RunLoadOptions, "workload" | "concurrency" | "durationSeconds" | "requestLimit" | "onProgress"> {
  readonly levels: readonly SweepLevel[];
  readonly objectives?: Objectives;
  /** A Kvant server on this machine whose processor time shall be told. */
  readonly process?: ServedProcess;
  readonly onLevelStart?: (level: SweepLevel, index: number) => void;
  readonly onProgress?: (live: LiveLoad) => void;
  readonly onLevelEnd?: (level: LoadLevel, index: number) => void;
}

export interface MeasuredLevel {
  readonly level: LoadLevel;
  /** Absent where no process was named, or it did not tell; of one that was gone after the load too. */
  readonly cost?: ServingCost;
}

export interface Sweep {
  readonly startedAt: string;
  readonly measured: readonly MeasuredLevel[];
  /** With the level's name in front where there are several. */
  readonly warnings: readonly string[];
  /** Levels after the one that was cut short were not run. */
  readonly isInterrupted: boolean;
}

/** Loads a server level by level, each with workers of its own; an abort ends the running one with what there is. */
export async function runSweep(options: RunSweepOptions): Promise<Sweep> {
  const { levels, objectives, process, onLevelStart, onLevelEnd, ...common } = options;
  const measured: MeasuredLevel[] = [];
  const warnings: string[] = [];
  const startedAt = new Date().toISOString();
  let isInterrupted = false;
  for (const [index, planned] of levels.entries()) {
    if (isInterrupted || options.signal?.aborted) {
      warnings.push(`${planned.name}: not run, because the load was ended before.`);
      continue;
    }
    onLevelStart?.(planned, index);
    const { name, requestsPerSecond, ...load } = planned;
    const say = (warning: string): void => void warnings.push(levels.length === 1 ? warning : `${name}: ${warning}`);
    const before = await snapshotIfThere(process, say);
    const run = await runLoad({ ...common, ...load });
    const after = before && (await snapshotIfThere(process, run.isInterrupted ? () => undefined : say));
    const level = loadLevel(run, {
      name,
      ...(load.concurrency === undefined ? {} : { concurrency: load.concurrency }),
      ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
      ...(objectives === undefined ? {} : { objectives }),
    });
    const spent = { seconds: run.endedAt, outputTokens: sum(run.bins.outputTokens) };
    measured.push({
      level,
      ...(before === undefined || after === undefined ? {} : { cost: servingCost(before, after, spent) }),
    });
    run.warnings.forEach(say);
    ({ isInterrupted } = run);
    onLevelEnd?.(level, index);
  }
  return { startedAt, measured, warnings, isInterrupted };
}

/** A load whose server does not tell what it spends is worth its figures; one that ended early may have taken it along, as Ctrl-C does. */
async function snapshotIfThere(
  process: ServedProcess | undefined,
  say: (warning: string) => void,
): Promise<ServingSnapshot | undefined> {
  if (process === undefined) return undefined;
  try {
    return await servingSnapshot(process);
  } catch (error) {
    say(`what the server's processes spent is not known: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
