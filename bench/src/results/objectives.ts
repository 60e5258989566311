import { KvantError } from "@kvant/core";
import type { RequestRecord } from "../load/request-record.ts";
import { pauseP99 } from "./pauses.ts";

/** What `--slo` can bound, as it is spelled there. */
export const objectiveNames = ["ttft", "itl", "tpot", "e2e"] as const;

export type ObjectiveName = (typeof objectiveNames)[number];

/** The most seconds that a request may take and still be good; what is absent is not bounded. */
export type Objectives = { readonly [name in ObjectiveName]?: number };

const perSecond = { us: 1e6, ms: 1e3, s: 1, "": 1 } as const;

/**
 * `ttft=500ms,itl=50ms,tpot=0.05s,e2e=20` (a bare number is seconds).
 * @throws KvantError INVALID_ARGUMENT for an unknown measure, one given twice, or no positive duration
 */
export function parseObjectives(text: string): Objectives {
  const objectives: { [name in ObjectiveName]?: number } = {};
  for (const part of text.split(",")) {
    const [, name = "", amount = "", unit = ""] = /^\s*([^=\s]*)\s*=\s*([\d.]+)\s*(us|ms|s|)\s*$/.exec(part) ?? [];
    const seconds = Number(amount) / perSecond[unit as keyof typeof perSecond];
    if (!isObjective(name) || !(seconds > 0)) {
      throw refused(`"${part}" is not one of ${objectiveNames.join(", ")} with a duration, such as ttft=500ms`);
    }
    if (objectives[name] !== undefined) throw refused(`${name} is given twice`);
    objectives[name] = seconds;
  }
  return objectives;
}

/**
 * Whether a request ended well and within every objective. `itl` holds where at least 99 % of its pauses between tokens do (of
 * fewer than a hundred: all). An answer of one token has no pauses, and keeps `itl` and `tpot`.
 */
export function keepsObjectives(record: RequestRecord, { ttft, itl, tpot, e2e }: Objectives): boolean {
  const { dueAt, firstTokenAt, lastTokenAt, endedAt, outputTokens, failure } = record;
  if (failure !== undefined || firstTokenAt === undefined || lastTokenAt === undefined) return false;
  if (ttft !== undefined && firstTokenAt - dueAt > ttft) return false;
  if (e2e !== undefined && endedAt - dueAt > e2e) return false;
  if (tpot !== undefined && outputTokens > 1 && (lastTokenAt - firstTokenAt) / (outputTokens - 1) > tpot) return false;
  return itl === undefined || (pauseP99(record) ?? 0) <= itl;
}

function isObjective(name: string): name is ObjectiveName {
  return (objectiveNames as readonly string[]).includes(name);
}

function refused(reason: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", `--slo: ${reason}`, { field: "slo" });
}
