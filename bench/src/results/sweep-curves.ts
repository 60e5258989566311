import type { Axis, Figure, LineSeries, Part, ScatterPoint, Section } from "@kvant/report";
import type { LatencySummary, LoadLevel, LoadResult } from "../load/load-result.ts";
import { levelTable } from "./load-tables.ts";

const throughput: Axis = { label: "output tokens per second", low: 0 };

type Latency = (level: LoadLevel) => LatencySummary | undefined;
type Percentile = "p50" | "p99";

/** What a sweep is made for: how much latency more throughput costs. Undefined for a single level. */
export function sweepSection(result: LoadResult): Section | undefined {
  const { levels } = result;
  if (levels.length < 2) return undefined;
  const figures = [
    scatter("Between tokens, p99", levels, ({ interToken }) => interToken, "p99"),
    scatter("Time to first token, p50", levels, ({ timeToFirstToken }) => timeToFirstToken, "p50"),
    scatter("Time to first token, p99", levels, ({ timeToFirstToken }) => timeToFirstToken, "p99"),
  ];
  const pareto = scatter(
    "Throughput against the pause between tokens, p50",
    levels,
    ({ interToken }) => interToken,
    "p50",
  );
  return {
    title: "Throughput against latency",
    parts: [
      {
        ...pareto,
        kind: "figure",
        caption:
          "Up and to the left is better. A point is a level of load; one below the dashed line is beaten in both by another.",
      },
      { kind: "figures", figures },
      ...curves(levels),
      { kind: "table", ...levelTable(result) },
    ],
  };
}

function scatter(title: string, levels: readonly LoadLevel[], latency: Latency, percentile: Percentile): Figure {
  const points = levels.flatMap((level): readonly ScatterPoint[] => {
    const seconds = latency(level)?.[percentile];
    if (seconds === undefined) return [];
    return [{ x: seconds, y: level.outputTokensPerSecond, label: shortName(level) }];
  });
  return {
    title,
    plot: {
      kind: "scatter",
      x: { label: title, unit: "seconds", low: 0 },
      y: throughput,
      series: [{ name: "levels of load", points }],
      better: { x: "low", y: "high" },
    },
  };
}

function shortName({ name, concurrency, requestsPerSecond }: LoadLevel): string {
  if (concurrency !== undefined) return String(concurrency);
  return requestsPerSecond === undefined ? name : `${requestsPerSecond}/s`;
}

/** Over the load that was offered, where all levels were given by the same quantity. */
function curves(levels: readonly LoadLevel[]): readonly Part[] {
  const offered = offeredLoad(levels);
  if (offered === undefined) return [];
  const { axis, of } = offered;
  const ordered = [...levels].sort((a, b) => of(a) - of(b));
  const x = ordered.map(of);
  const line = (name: string, y: (level: LoadLevel) => number | undefined): LineSeries => ({
    ...{ name, x, y: ordered.map((level) => y(level) ?? null) },
  });
  const quantiles = (latency: Latency): readonly LineSeries[] =>
    (["p50", "p99"] as const).map((percentile) => line(percentile, (level) => latency(level)?.[percentile]));
  const good = line("within the objectives", (level) => level.goodShare);
  return [
    {
      kind: "figure",
      title: "Over the offered load",
      plot: {
        kind: "timeline",
        x: axis,
        panels: [
          { y: throughput, series: [line("output", (level) => level.outputTokensPerSecond)] },
          {
            y: { label: "time to first token", unit: "seconds", scale: "log" },
            series: quantiles((level) => level.timeToFirstToken),
          },
          {
            y: { label: "between tokens", unit: "seconds", scale: "log" },
            series: quantiles((level) => level.interToken),
          },
          ...(good.y.every((share) => share === null)
            ? []
            : [
                {
                  y: { label: "requests within the objectives", unit: "share", low: 0, high: 1 } as const,
                  series: [good],
                },
              ]),
        ],
      },
    },
  ];
}

interface OfferedLoad {
  readonly axis: Axis;
  readonly of: (level: LoadLevel) => number;
}

/** Undefined where levels differ in something else than one quantity, or two of them offer the same. */
function offeredLoad(levels: readonly LoadLevel[]): OfferedLoad | undefined {
  const candidates: readonly OfferedLoad[] = [
    { axis: { label: "streams", unit: "count" }, of: ({ concurrency }) => concurrency ?? Number.NaN },
    { axis: { label: "requests per second" }, of: ({ requestsPerSecond }) => requestsPerSecond ?? Number.NaN },
  ];
  return candidates.find(({ of }) => {
    const values = levels.map(of);
    return values.every(Number.isFinite) && new Set(values).size === values.length;
  });
}
