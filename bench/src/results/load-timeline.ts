import type { Axis, LineSeries, Part, Section } from "@kvant/report";
import type { LoadLevel, LoadResult, Timeline } from "../load/load-result.ts";

/** How each level went over time. Of a sweep the level of the highest throughput is open, the others are folded away. */
export function timelineSection({ levels }: LoadResult): Section | undefined {
  const shown = levels.filter(({ timeline }) => timeline.outputTokensPerSecond.length > 1);
  if (shown.length === 0) return undefined;
  const busiest = shown.reduce((best, level) =>
    level.outputTokensPerSecond > best.outputTokensPerSecond ? level : best,
  );
  return {
    title: "Over time",
    parts: [
      timelineFigure(busiest),
      ...shown
        .filter((level) => level !== busiest)
        .map((level): Part => ({ kind: "details", summary: level.name, parts: [timelineFigure(level)] })),
    ],
  };
}

interface TimelinePanel {
  readonly y: Axis;
  readonly series: readonly LineSeries[];
}

function timelineFigure(level: LoadLevel): Part {
  const { timeline, warmUpSeconds = 0 } = level;
  const seconds = timeline.outputTokensPerSecond.map((_, bin) => bin * timeline.binSeconds);
  const line = (name: string, y: readonly (number | null)[] | undefined): readonly LineSeries[] =>
    y === undefined || y.every((value) => value === null) ? [] : [{ name, x: seconds, y, shape: "steps" }];
  const panels: readonly TimelinePanel[] = [
    {
      y: { label: "output tokens per second", low: 0 },
      series: line("output tokens per second", timeline.outputTokensPerSecond),
    },
    {
      y: { label: "requests", low: 0 },
      series: [
        ...line("in flight", timeline.inFlight),
        ...line("running in the server", timeline.server.running),
        ...line("in the server's queue", timeline.server.waiting),
      ],
    },
    { y: { label: "KV cache in use", unit: "share", low: 0, high: 1 }, series: line("KV", timeline.server.kvUsage) },
    { y: { label: "failures and preemptions", low: 0 }, series: troubles(timeline, line) },
    {
      y: { label: "server's memory", unit: "bytes", low: 0 },
      series: [
        ...line("resident", timeline.server.residentBytes),
        ...line("on the device", timeline.server.deviceBytes),
      ],
    },
  ];
  const shown = panels.filter(({ series }) => series.length > 0);
  const warmUp =
    warmUpSeconds > 0 ? ` The first ${warmUpSeconds.toFixed(1)} s are warm-up and count nowhere else.` : "";
  return {
    kind: "figure",
    title: level.name,
    caption: `In bins of ${timeline.binSeconds} s.${warmUp}`,
    plot: { kind: "timeline", x: { label: "seconds since the start", low: 0 }, panels: shown },
  };
}

/** Only what happened: a line along zero would tell nothing. */
function troubles(
  { failures, server: { preemptions } }: Timeline,
  line: (name: string, y: readonly (number | null)[] | undefined) => readonly LineSeries[],
): readonly LineSeries[] {
  const happened = (values: readonly (number | null)[]): boolean => values.some((value) => value !== null && value > 0);
  return [
    ...(happened(failures) ? line("failures", failures) : []),
    ...(preemptions !== undefined && happened(preemptions) ? line("preemptions", preemptions) : []),
  ];
}
