import { measureServing, type ProcessShare, type ServingMeasurement } from "@kvant/bench";
import { KvantError } from "@kvant/core";
import { printRow, say, table } from "../print.ts";

export interface BenchServeFlags {
  readonly shape?: string;
  readonly device?: string;
  readonly weights?: string;
  readonly kvFormat?: string;
  readonly streams: number;
  readonly requests?: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly limitSeconds: number;
  readonly json?: boolean;
}

/** Loads a server of its own with streams. `serveArgs` go to `kvant serve` as they are. */
export async function benchServe(serveArgs: readonly string[], flags: BenchServeFlags): Promise<void> {
  const { shape, streams, promptTokens, outputTokens, limitSeconds, requests = streams } = flags;
  if (requests < streams)
    throw new KvantError("INVALID_ARGUMENT", `--requests ${requests} is less than --streams ${streams}`);
  const row = await measureServing({
    entry: process.argv[1]!,
    serveArgs: [
      ...(shape === undefined ? [] : [shape, "--load", "dummy"]),
      ...handedOn("--device", flags.device),
      ...handedOn("--weights", flags.weights),
      ...handedOn("--kv-format", flags.kvFormat),
      ...serveArgs,
    ],
    streams,
    requests,
    promptTokens,
    outputTokens,
    limitSeconds,
    onProgress: say,
  });
  if (flags.json) printRow(row);
  else process.stdout.write(`${measurementTable(row)}\n`);
  if (row.failures > 0) process.exitCode = 1;
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

function handedOn(flag: string, value: string | undefined): readonly string[] {
  return value === undefined ? [] : [flag, value];
}

function measurementTable(row: ServingMeasurement): string {
  const milliseconds = (seconds: number | undefined) => (seconds === undefined ? "-" : (seconds * 1000).toFixed(2));
  const cells: readonly (readonly [string, string])[] = [
    ["output tok/s", row.outputTokensPerSecond.toFixed(0)],
    ["first token p50, p99 ms", [row.firstTokenSeconds.p50, row.firstTokenSeconds.p99].map(milliseconds).join(", ")],
    ["inter-token p50, p99 ms", [row.interTokenSeconds.p50, row.interTokenSeconds.p99].map(milliseconds).join(", ")],
    ["failed requests", `${row.failures} of ${row.requests}`],
    ["steps, mean ms", `${row.steps}, ${milliseconds(row.meanStepSeconds)}`],
    ["% of the time in steps", row.busyPercent.toFixed(1)],
    ["decode steps, mean ms", `${row.decodeSteps}, ${milliseconds(row.meanDecodeStepSeconds)}`],
    ["server CPU ms per step", milliseconds(row.server?.cpuSecondsPerStep)],
    ...threadCells("server", row.server, row.steps),
    ["engine CPU ms per step", milliseconds(row.engine?.cpuSecondsPerStep)],
    ...threadCells("engine", row.engine, row.steps),
    ["CPU % of step, JavaScript threads", row.mainThreadPercentOfStep?.toFixed(1) ?? "-"],
    ["CPU % of step, all threads", row.cpuPercentOfStep?.toFixed(1) ?? "-"],
    ["CPU % of decode step, all threads", row.cpuPercentOfDecodeStep?.toFixed(1) ?? "-"],
    ["CPU us per output token, all threads", ((row.cpuSecondsPerOutputToken ?? Number.NaN) * 1e6).toFixed(1)],
  ];
  const title =
    `${row.model}, ${row.tier}, ${row.weights} weights, ${row.headFormat ?? "no"} head, ${row.kvFormat} KV, ${row.streams} streams, ` +
    `${row.promptTokens} tokens in, ${row.outputTokens} out, ${row.seconds.toFixed(1)} s`;
  const failures = row.failureSentences.map((sentence) => `\n  ${sentence}`).join("");
  return `${title}\n${table(["measure", "value"], cells)}${failures}`;
}
