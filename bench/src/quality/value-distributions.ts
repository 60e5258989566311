import type { LinearReport, MagnitudeHistogram, ValueHistogram } from "@kvant/quantizers";
import type { Figure, HistogramSeries, Section } from "@kvant/report";
import { byProjection } from "./layer-series.ts";

/** So many linear layers are shown; the table has all. */
const shownLinears = 12;

/** Histograms of the linear layers that lost most: of their weights, and of their inputs where there was calibration. */
export function distributionSection(linears: readonly LinearReport[]): Section {
  const hasOutputs = linears.some(({ outputRelativeError }) => outputRelativeError !== null);
  const loss = ({ outputRelativeError, weight }: LinearReport): number => outputRelativeError ?? weight.relativeError;
  const worst = [...linears].sort((a, b) => loss(b) - loss(a)).slice(0, shownLinears);
  const inputs = worst.flatMap(inputFigure);
  const which = worst.length < linears.length ? `The ${worst.length} linear layers` : "All linear layers";
  const order = `${which} by relative error of their ${hasOutputs ? "outputs" : "weights"}, the largest first.`;
  return {
    title: "Weights and activations before and after",
    parts: [
      {
        kind: "paragraph",
        text: `${order} Grey is the matrix before it was quantized, colour what its codes decode to.`,
      },
      { kind: "figures", figures: worst.map(weightFigure) },
      ...(inputs.length === 0
        ? []
        : [{ kind: "paragraph", text: inputText } as const, { kind: "figures", figures: inputs } as const]),
    ],
  };
}

const inputText =
  "Magnitudes of the same layers' inputs on the calibration text. What lies far to the right of the rest are outliers; folding moves them into the weights.";

function weightFigure({ name, weightFormat, weightsBefore, weightsAfter }: LinearReport): Figure {
  return {
    title: `${name}, ${weightFormat}`,
    plot: {
      ...{ kind: "histogram", x: { label: "weight" }, y: { label: "share of the weights", unit: "share" } },
      series: [
        { name: "before", muted: true, ...valueShares(weightsBefore) },
        { name: "after", ...valueShares(weightsAfter) },
      ],
    },
  };
}

function inputFigure({ name, activationsBefore, activationsAfter }: LinearReport): readonly Figure[] {
  if (activationsBefore === null) return [];
  const isFolded = activationsAfter !== null && !isSame(activationsBefore, activationsAfter);
  return [
    {
      title: name,
      plot: {
        kind: "histogram",
        x: { label: "magnitude of the input", scale: "log" },
        y: { label: "share of the values", unit: "share", scale: "log" },
        series: isFolded
          ? [
              { name: "before", muted: true, ...magnitudeShares(activationsBefore) },
              { name: "after folding", ...magnitudeShares(activationsAfter) },
            ]
          : [{ name: "inputs", ...magnitudeShares(activationsBefore) }],
      },
    },
  ];
}

/** Magnitudes of all scales, one series per projection. */
export function scaleSection(linears: readonly LinearReport[]): Section {
  const groups = new Map([...byProjection(linears)].filter(([, members]) => hasScales(members)));
  return {
    title: "Scales",
    parts: [
      {
        ...{ kind: "figure", title: "Distribution of the weights' scales" },
        caption: "A scale is what a code is multiplied by; a wide distribution is what finer granularity makes use of.",
        plot: {
          kind: "histogram",
          x: { label: "scale", scale: "log" },
          y: { label: "share of the scales", unit: "share" },
          series: [...groups].map(([name, members]) => ({
            name,
            ...magnitudeShares(merged(members.map(({ scales }) => scales))),
          })),
        },
      },
    ],
  };
}

function hasScales(members: readonly LinearReport[]): boolean {
  return members.some(({ scales }) => total(scales.counts) > 0);
}

type Shares = Pick<HistogramSeries, "edges" | "counts">;

function valueShares({ low, high, counts }: ValueHistogram): Shares {
  const width = (high - low) / counts.length;
  const all = total(counts);
  return {
    edges: Array.from({ length: counts.length + 1 }, (_, i) => low + i * width),
    counts: counts.map((count) => (all === 0 ? 0 : count / all)),
  };
}

/** Shares of all values, zeros included, over the bins between the first and the last that hold any. */
function magnitudeShares({ lowExponent, binsPerOctave, counts, zeroCount }: MagnitudeHistogram): Shares {
  const first = Math.max(
    0,
    counts.findIndex((count) => count > 0),
  );
  const last = counts.findLastIndex((count) => count > 0);
  const held = counts.slice(first, Math.max(first, last) + 1);
  const all = total(counts) + zeroCount;
  return {
    edges: Array.from({ length: held.length + 1 }, (_, i) => 2 ** (lowExponent + (first + i) / binsPerOctave)),
    counts: held.map((count) => (all === 0 ? 0 : count / all)),
  };
}

/** The sum of histograms whose bins are equally wide and begin at multiples of their width. */
function merged(histograms: readonly MagnitudeHistogram[]): MagnitudeHistogram {
  const { binsPerOctave } = histograms[0]!;
  const start = (one: MagnitudeHistogram): number => Math.round(one.lowExponent * binsPerOctave);
  const low = Math.min(...histograms.map(start));
  const counts = new Array<number>(Math.max(...histograms.map((one) => start(one) + one.counts.length)) - low).fill(0);
  for (const one of histograms) {
    for (const [bin, count] of one.counts.entries()) counts[start(one) - low + bin]! += count;
  }
  const zeroCount = total(histograms.map((one) => one.zeroCount));
  return { lowExponent: low / binsPerOctave, binsPerOctave, counts, zeroCount };
}

function isSame(a: MagnitudeHistogram, b: MagnitudeHistogram): boolean {
  return a.lowExponent === b.lowExponent && a.counts.join() === b.counts.join();
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
