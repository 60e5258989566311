import { type LoadResult, loadResultVersion } from "../load/load-result.ts";
import type { Sweep } from "../serving/run-sweep.ts";
import type { Objectives } from "./objectives.ts";

/** What a result tells beside what was measured. */
export interface LoadContext
  extends Pick<LoadResult, "machine" | "software" | "server" | "flags" | "seed" | "workload"> {
  readonly objectives?: Objectives;
  /** What the client measured of itself before the load. */
  readonly client: LoadResult["client"];
}

/** A sweep with its context, as it is written. */
export function loadResultOf({ startedAt, measured, warnings }: Sweep, context: LoadContext): LoadResult {
  const { machine, software, server, flags, seed, workload, objectives = {}, client } = context;
  return {
    kind: "kvant-load",
    version: loadResultVersion,
    ...{ startedAt, machine, software, server, flags, seed, workload, objectives: { ...objectives } },
    client,
    warnings,
    levels: measured.map(({ level }) => level),
  };
}
