import {
  cachedSentence,
  clientSentence,
  countedSentence,
  failureTable,
  type LoadResult,
  latencyTable,
  levelTable,
  type MeasuredLevel,
  milliseconds,
  type ProcessShare,
  type ServingCost,
  schemeText,
  textTable,
} from "@kvant/bench";
import { table } from "./print.ts";

/** What the client measured of itself, before there is a load to hold it against. */
export function clientCostText({ workers, tokensPerSecond, addedP99Seconds }: LoadResult["client"]): string {
  const [processes, take, add] = workers === 1 ? ["process", "takes", "adds"] : ["processes", "take", "add"];
  const tokens = Math.round(tokensPerSecond).toLocaleString("en");
  const delay = milliseconds(addedP99Seconds);
  return `the client's ${workers} ${processes} ${take} up to ${tokens} tokens per second and ${add} ${delay} ms (p99)`;
}

/** A load on the terminal: what was asked, what came, what failed, what it cost, and what makes the figures doubtful. */
export function loadSummary(result: LoadResult, measured: readonly MeasuredLevel[]): string {
  const { server, workload, levels, warnings } = result;
  const served = [server.model, schemeText(server)].filter((part) => part !== "").join(", ");
  const costs = measured.flatMap(({ level, cost }) => (cost === undefined ? [] : [costTable(level.name, cost)]));
  const paragraphs = [
    `${served}; ${server.target}\n${workload}`,
    textOf(levelTable(result)),
    // Of a sweep the percentiles would be a page; they are in the files.
    ...(levels.length === 1 ? [textOf(latencyTable(result))] : []),
    ...(levels.some(({ failures }) => Object.keys(failures).length > 0) ? [textOf(failureTable(result))] : []),
    ...costs,
    [
      clientSentence(result),
      countedSentence(levels),
      ...cachedSentence(levels),
      ...warnings.map((warning) => `warning: ${warning}`),
    ].join("\n"),
  ];
  return paragraphs.join("\n\n");
}

function textOf(part: Parameters<typeof textTable>[0]): string {
  const [header, ...rows] = textTable(part);
  return table(header!, rows);
}

/** What a level cost the server's two processes. */
function costTable(level: string, cost: ServingCost): string {
  const perStep = (value: number | undefined): string =>
    value === undefined || !Number.isFinite(value) ? "-" : milliseconds(value);
  const cells: readonly (readonly [string, string])[] = [
    ["steps, mean ms", `${cost.steps}, ${perStep(cost.meanStepSeconds)}`],
    ["% of the time in steps", cost.busyPercent.toFixed(1)],
    ["decode steps, mean ms", `${cost.decodeSteps}, ${perStep(cost.meanDecodeStepSeconds)}`],
    ["server CPU ms per step", perStep(cost.server?.cpuSecondsPerStep)],
    ...threadCells("server", cost.server, cost.steps),
    ["engine CPU ms per step", perStep(cost.engine?.cpuSecondsPerStep)],
    ...threadCells("engine", cost.engine, cost.steps),
    ["CPU % of step, JavaScript threads", cost.mainThreadPercentOfStep?.toFixed(1) ?? "-"],
    ["CPU % of step, all threads", cost.cpuPercentOfStep?.toFixed(1) ?? "-"],
    ["CPU % of decode step, all threads", cost.cpuPercentOfDecodeStep?.toFixed(1) ?? "-"],
    ["CPU us per output token, all threads", ((cost.cpuSecondsPerOutputToken ?? Number.NaN) * 1e6).toFixed(1)],
    ["preemptions", String(cost.preemptions)],
  ];
  return table([`cost of ${level}`, "value"], cells);
}

/** One row per thread name that costs a hundredth of a millisecond or more. */
function threadCells(process: string, share: ProcessShare | null, steps: number): [string, string][] {
  return (share?.threads ?? []).flatMap(({ name, threadCount, userSeconds, systemSeconds }) => {
    const [user, system] = [(userSeconds / steps) * 1000, (systemSeconds / steps) * 1000];
    if (user + system < 0.01) return [];
    const threads = threadCount === 1 ? name : `${threadCount} x ${name}`;
    const value = `${(user + system).toFixed(2)} (user ${user.toFixed(2)}, kernel ${system.toFixed(2)})`;
    return [[`  ${process} ${threads}`, value] as [string, string]];
  });
}
