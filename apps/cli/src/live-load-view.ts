import type { LiveLoad, LiveQuantiles } from "@kvant/bench";
import { milliseconds } from "@kvant/bench";
import { createLogUpdate } from "log-update";
import { say } from "./print.ts";

/** What of a load is running: a level of a sweep, and what ends it. */
export interface RunningLevel {
  readonly name: string;
  /** Such as `2 of 4`; absent for a single level. */
  readonly place?: string;
  readonly requests?: number;
  readonly durationSeconds?: number;
}

export interface LiveLoadView {
  readonly update: (live: LiveLoad) => void;
  readonly stop: () => void;
}

/** Where nobody watches, a line now and then shows in a log that the load goes on. */
const plainSeconds = 10;

/** A few lines on standard error that follow a running load; one plain line every ten seconds where that is no terminal. */
export function liveLoadView(level: RunningLevel): LiveLoadView {
  return process.stderr.isTTY ? terminalView(level) : plainView(level, say);
}

export function plainView(level: RunningLevel, write: (line: string) => void): LiveLoadView {
  let written = 0;
  return {
    update: (live) => {
      const due = Math.floor(live.seconds / plainSeconds);
      if (due <= written) return;
      written = due;
      write(plainLine(live, level));
    },
    stop: () => undefined,
  };
}

function terminalView(level: RunningLevel): LiveLoadView {
  const draw = createLogUpdate(process.stderr);
  const rates: number[] = [];
  return {
    update: (live) => {
      addRate(rates, live.outputTokensPerSecond);
      draw(liveLoadText(live, level, rates, process.stderr.columns || widest));
    },
    stop: () => draw.clear(),
  };
}

/** Wider lines would not read better. */
const widest = 100;
const barCells = 30;
const sparkCells = 40;
/** Updates that one cell of the sparkline averages: they come four times a second, so the line holds 40 s. */
const updatesPerCell = 4;

/**
 * The view as text, a line per subject.
 * @param rates output tokens per second, one per update so far
 * @param columns of the terminal: no line is longer
 */
export function liveLoadText(live: LiveLoad, level: RunningLevel, rates: readonly number[], columns = widest): string {
  const { outputTokensPerSecond, timeToFirstToken, interToken, server } = live;
  const lines = [
    `${title(level)}  ${progressText(live, level)}`,
    countsText(live),
    `${whole(outputTokensPerSecond)} tok/s  ${sparkline(rates)}`,
    ...(timeToFirstToken === undefined && interToken === undefined
      ? []
      : [`first token ${quantilesText(timeToFirstToken)}   between tokens ${quantilesText(interToken)}`]),
    ...(server === undefined ? [] : [serverText(server)]),
  ];
  const width = Math.min(columns, widest);
  return lines.map((line) => (line.length > width ? `${line.slice(0, width - 1)}…` : line)).join("\n");
}

/** All of it in one line, for a log. */
export function plainLine(live: LiveLoad, level: RunningLevel): string {
  const { outputTokensPerSecond, timeToFirstToken, interToken, server } = live;
  return [
    `${title(level)}: ${phase(live)}${whole(live.seconds)} s`,
    countsText(live).replaceAll("   ", ", "),
    `${whole(outputTokensPerSecond)} tok/s`,
    ...(timeToFirstToken === undefined ? [] : [`first token ${quantilesText(timeToFirstToken)}`]),
    ...(interToken === undefined ? [] : [`between tokens ${quantilesText(interToken)}`]),
    ...(server === undefined ? [] : [serverText(server)]),
  ].join("; ");
}

function title({ name, place }: RunningLevel): string {
  return place === undefined ? name : `${name} (${place})`;
}

function phase({ isWarmUp, isDraining }: LiveLoad): string {
  if (isWarmUp) return "warming up, ";
  return isDraining ? "waiting for open requests, " : "";
}

function progressText(live: LiveLoad, { requests, durationSeconds }: RunningLevel): string {
  const ended = live.completed + live.failed;
  const share = Math.max(
    requests === undefined ? 0 : ended / requests,
    durationSeconds === undefined ? 0 : live.seconds / durationSeconds,
  );
  const filled = Math.round(barCells * Math.min(1, share));
  const bounds = [
    ...(durationSeconds === undefined
      ? [`${whole(live.seconds)} s`]
      : [`${whole(Math.min(live.seconds, durationSeconds))} of ${whole(durationSeconds)} s`]),
    ...(requests === undefined ? [] : [`${whole(ended)} of ${whole(requests)} requests`]),
  ];
  return `${"█".repeat(filled)}${"░".repeat(barCells - filled)}  ${phase(live)}${bounds.join(", ")}`;
}

function countsText({ inFlight, completed, failed }: LiveLoad): string {
  return `${whole(inFlight)} in flight   ${whole(completed)} completed   ${whole(failed)} failed`;
}

function quantilesText(quantiles: LiveQuantiles | undefined): string {
  if (quantiles === undefined) return "-";
  return `p50 ${milliseconds(quantiles.p50)} p99 ${milliseconds(quantiles.p99)} ms`;
}

function serverText({ running, waiting, kvUsage, preemptions }: NonNullable<LiveLoad["server"]>): string {
  const parts = [
    ...(running === undefined ? [] : [`${whole(running)} running`]),
    ...(waiting === undefined ? [] : [`${whole(waiting)} waiting`]),
    ...(kvUsage === undefined ? [] : [`KV cache ${(100 * kvUsage).toFixed(0)} %`]),
    ...(preemptions === undefined || preemptions === 0 ? [] : [`${whole(preemptions)} preemptions`]),
  ];
  return `server: ${parts.length === 0 ? "tells nothing" : parts.join(", ")}`;
}

const sparks = "▁▂▃▄▅▆▇█";

/** The latest values from left to right, from 0 to their own maximum; the cell at the right end is still filling. */
function sparkline(rates: readonly number[]): string {
  const cellCount = Math.ceil(rates.length / updatesPerCell);
  const cells = Array.from({ length: cellCount }, (_, i) => {
    const members = rates.slice(i * updatesPerCell, (i + 1) * updatesPerCell);
    return members.reduce((sum, rate) => sum + rate, 0) / members.length;
  }).slice(-sparkCells);
  const most = Math.max(...cells);
  const mark = (rate: number): string => sparks[most > 0 ? Math.round((rate / most) * (sparks.length - 1)) : 0]!;
  return cells.map(mark).join("");
}

/** Keeps as many as the sparkline shows; a cell's worth goes at once, or every cell would change with every update. */
export function addRate(rates: number[], rate: number): void {
  rates.push(rate);
  if (rates.length > sparkCells * updatesPerCell) rates.splice(0, updatesPerCell);
}

function whole(value: number): string {
  return Math.floor(value).toLocaleString("en");
}
