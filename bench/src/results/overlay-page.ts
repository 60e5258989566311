import { type Cell, type Figure, type LineSeries, type Part, reportPage } from "@kvant/report";
import type { LoadLevel, LoadResult } from "../load/load-result.ts";

/** One result with the name under which it is drawn: what tells it from the others. */
interface Curve {
  readonly name: string;
  /** Whose curves are drawn into one figure. */
  readonly figure: string;
  readonly result: LoadResult;
}

/**
 * Several sweeps of the same workload over one another: what throughput costs in latency, one curve per scheme. Results whose KV
 * formats differ beside other parts of their schemes get a figure per KV format.
 */
export function overlayPage(results: readonly LoadResult[], title = "Throughput against latency"): string {
  const curves = curvesOf(results);
  const [first] = results;
  const workloads = [...new Set(results.map(({ workload }) => workload))];
  return reportPage({
    title,
    subtitle: workloads.join("; "),
    sections: [
      { title: "Between tokens", parts: figures(curves, "interToken", "between tokens") },
      { title: "First token", parts: figures(curves, "timeToFirstToken", "time to first token") },
      { title: "Every level", parts: [levelTable(curves)] },
      {
        title: "The machines",
        parts: [{ kind: "list", items: [...new Set(results.map(machineSentence))] }],
      },
    ],
    ...(first === undefined ? {} : { footer: `Written from results of kvant ${first.software.kvant}.` }),
  });
}

/** Schemes by the parts in which they differ; results that differ in none by their places. */
function curvesOf(results: readonly LoadResult[]): readonly Curve[] {
  const schemes = results.map(
    ({ server }): Readonly<Record<string, string>> => ({
      model: server.model,
      ...server.scheme,
    }),
  );
  const differing = [...new Set(schemes.flatMap(Object.keys))].filter(
    (part) => new Set(schemes.map((scheme) => scheme[part])).size > 1,
  );
  const hasFigures = differing.length > 1 && differing.includes("kvFormat");
  const named = hasFigures ? differing.filter((part) => part !== "kvFormat") : differing;
  return results.map((result, index) => {
    const scheme = schemes[index]!;
    const name = named.map((part) => scheme[part] ?? `no ${part}`).join(" x ");
    const figure = hasFigures ? `${scheme.kvFormat} KV` : "";
    return { name: name === "" ? `result ${index + 1}` : name, figure, result };
  });
}

type Latency = "interToken" | "timeToFirstToken";

function figures(curves: readonly Curve[], latency: Latency, words: string): readonly Part[] {
  const groups = [...new Set(curves.map(({ figure }) => figure))];
  // One scale for all figures, with room for the last point's mark.
  const most = Math.max(...curves.flatMap(({ result }) => result.levels.map((level) => level.outputTokensPerSecond)));
  return (["p50", "p99"] as const).map((percentile): Part => {
    const drawn = groups.map((group): Figure => {
      const title = [`${words}, ${percentile}`, group].filter((text) => text !== "").join(", ");
      const own = curves.filter(({ figure }) => figure === group);
      return {
        title: title[0]!.toUpperCase() + title.slice(1),
        plot: {
          kind: "lines",
          x: { label: "output tokens per second", low: 0, high: 1.04 * most },
          y: { label: words, unit: "seconds", scale: "log" },
          series: own.map((curve) => series(curve, (level) => level[latency]?.[percentile])),
        },
      };
    });
    return drawn.length === 1 ? { kind: "figure", ...drawn[0]! } : { kind: "figures", figures: drawn };
  });
}

/** Levels in the order of their throughput; of two with the same the first. */
function series({ name, result }: Curve, latency: (level: LoadLevel) => number | undefined): LineSeries {
  const levels = [...result.levels].sort((a, b) => a.outputTokensPerSecond - b.outputTokensPerSecond);
  const points = levels.filter(
    ({ outputTokensPerSecond }, i) => outputTokensPerSecond !== levels[i - 1]?.outputTokensPerSecond,
  );
  return {
    name,
    x: points.map((level) => level.outputTokensPerSecond),
    y: points.map((level) => latency(level) ?? null),
  };
}

const tableColumns = [
  { title: "scheme" },
  { title: "load" },
  { title: "out tok/s", unit: "number" },
  { title: "TTFT p50", unit: "seconds" },
  { title: "TTFT p99", unit: "seconds" },
  { title: "ITL p50", unit: "seconds" },
  { title: "ITL p99", unit: "seconds" },
  { title: "failed", unit: "count" },
] as const;

function levelTable(curves: readonly Curve[]): Part {
  const rows = curves.flatMap(({ name, figure, result }) =>
    result.levels.map((level): Cell[] => [
      [name, figure].filter((text) => text !== "").join(", "),
      level.name,
      level.outputTokensPerSecond,
      level.timeToFirstToken?.p50 ?? null,
      level.timeToFirstToken?.p99 ?? null,
      level.interToken?.p50 ?? null,
      level.interToken?.p99 ?? null,
      level.requests - level.completed,
    ]),
  );
  return { kind: "table", columns: tableColumns, rows };
}

function machineSentence({ machine, server, startedAt }: LoadResult): string {
  const accelerators = machine.accelerators.length === 0 ? "" : `, ${machine.accelerators.join(", ")}`;
  return `${machine.cpu}, ${machine.cores} cores${accelerators}; ${server.software ?? server.target}; ${startedAt.slice(0, 10)}`;
}
