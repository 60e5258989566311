import type { LinearReport } from "@kvant/quantizers";
import type { Axis, Cell, Figure, Part, Section, Unit } from "@kvant/report";
import { byProjection, layerSeries, overLayers } from "./layer-series.ts";
import { storedFormat } from "./quantization-summary.ts";

const layerAxis: Axis = { label: "layer", unit: "count" };

/** Relative errors and signal-to-noise ratio over the layers, one series per projection. */
export function layerErrorSection(linears: readonly LinearReport[]): Section {
  const hasOutputs = linears.some(({ outputRelativeError }) => outputRelativeError !== null);
  return {
    title: "Error per layer",
    parts: [
      ...(hasOutputs ? [outputErrors(linears)] : []),
      {
        ...{ kind: "figure", title: "Relative error of the weights" },
        caption: "Length of the error over the length of the weights, against the weights that were quantized.",
        plot: {
          ...{ kind: "lines", x: layerAxis, y: { label: "relative error", unit: "share", scale: "log" } },
          series: layerSeries(linears, ({ weight }) => weight.relativeError),
        },
      },
      {
        ...{ kind: "figure", title: "Signal to quantization noise of the weights" },
        caption: "Six decibels are one bit.",
        plot: {
          ...{ kind: "lines", x: layerAxis, y: { label: "decibels" } },
          series: layerSeries(linears, ({ weight }) => weight.sqnrDecibels, "low"),
        },
      },
    ],
  };
}

function outputErrors(linears: readonly LinearReport[]): Part {
  return {
    ...{ kind: "figure", title: "Relative error of the outputs" },
    caption:
      "Length of the error of a layer's outputs over the length of the outputs, on the calibration text. This is what the next layer sees.",
    plot: {
      ...{ kind: "lines", x: layerAxis, y: { label: "relative error", unit: "share", scale: "log" } },
      series: layerSeries(linears, ({ outputRelativeError }) => outputRelativeError),
    },
  };
}

/** The method beside round to nearest, a small plot per projection; undefined without calibration. */
export function roundToNearestSection(linears: readonly LinearReport[]): Section | undefined {
  const measured = linears.filter(
    ({ outputRelativeError, roundToNearestOutputError }) =>
      outputRelativeError !== null && roundToNearestOutputError !== null,
  );
  if (measured.length === 0) return undefined;
  const better = measured.filter(
    ({ outputRelativeError, roundToNearestOutputError }) => outputRelativeError! < roundToNearestOutputError!,
  );
  return {
    title: "Beside round to nearest",
    parts: [
      {
        kind: "paragraph",
        text: `In ${better.length} of ${measured.length} linear layers the outputs are nearer to the original than with round to nearest under the same format.`,
      },
      { kind: "figures", figures: [...byProjection(measured)].map(comparison) },
    ],
  };
}

function comparison([projection, members]: readonly [string, readonly LinearReport[]]): Figure {
  const methods = [...new Set(members.map(({ method }) => method))].join(", ");
  return {
    title: projection,
    plot: {
      ...{ kind: "lines", x: layerAxis, y: { label: "relative error of the outputs", unit: "share", scale: "log" } },
      series: [
        {
          ...{ name: "round to nearest", muted: true, dashed: true },
          ...overLayers(members, ({ roundToNearestOutputError }) => roundToNearestOutputError),
        },
        { name: methods, ...overLayers(members, ({ outputRelativeError }) => outputRelativeError) },
      ],
    },
  };
}

/** Clipped weights over the layers, or the sentence that there are none. */
export function saturationSection(linears: readonly LinearReport[]): Section {
  const sum = (countOf: (linear: LinearReport) => number): number =>
    linears.reduce((all, one) => all + countOf(one), 0);
  const values = sum(({ rows, cols }) => rows * cols);
  const [saturated, zeroed] = [sum(({ weight }) => weight.saturatedCount), sum(({ weight }) => weight.zeroedCount)];
  const share = (countOf: (linear: LinearReport) => number) => (linear: LinearReport) =>
    countOf(linear) / (linear.rows * linear.cols);
  const figures: Figure[] = [];
  if (saturated > 0) {
    figures.push({
      title: "Saturated weights",
      plot: {
        ...{ kind: "lines", x: layerAxis, y: { label: "share of the weights", unit: "share", low: 0 } },
        series: layerSeries(
          linears,
          share(({ weight }) => weight.saturatedCount),
        ),
      },
    });
  }
  if (zeroed > 0) {
    figures.push({
      title: "Weights that became 0",
      plot: {
        ...{ kind: "lines", x: layerAxis, y: { label: "share of the weights", unit: "share", low: 0 } },
        series: layerSeries(
          linears,
          share(({ weight }) => weight.zeroedCount),
        ),
      },
    });
  }
  const english = (count: number): string => count.toLocaleString("en");
  const text = `Of ${english(values)} weights ${english(saturated)} lie beyond what their scale can reach and were clipped, and ${english(zeroed)} that were not 0 became 0.`;
  return {
    title: "Saturation",
    parts: [{ kind: "paragraph", text }, ...figures.map((figure) => ({ kind: "figure", ...figure }) as const)],
  };
}

interface LinearColumn {
  readonly title: string;
  readonly unit?: Unit;
  readonly cell: (linear: LinearReport) => Cell;
  /** Left out where all linear layers have the same: the head of the page says it. */
  readonly isCommon?: boolean;
}

const linearColumns: readonly LinearColumn[] = [
  { title: "linear layer", cell: ({ name }) => name },
  { title: "shape", cell: ({ rows, cols }) => `${rows} x ${cols}` },
  { title: "format", cell: storedFormat, isCommon: true },
  { title: "activations", cell: ({ activations }) => activations, isCommon: true },
  { title: "method", cell: ({ method }) => method, isCommon: true },
  { title: "bits per weight", unit: "number", cell: ({ bitsPerWeight }) => bitsPerWeight, isCommon: true },
  { title: "activation scale", unit: "number", cell: ({ activationScale }) => activationScale, isCommon: true },
  { title: "weight error", unit: "share", cell: ({ weight }) => weight.relativeError },
  { title: "SQNR, dB", unit: "number", cell: ({ weight }) => weight.sqnrDecibels },
  { title: "output error", unit: "share", cell: ({ outputRelativeError }) => outputRelativeError },
  { title: "with round to nearest", unit: "share", cell: (linear) => linear.roundToNearestOutputError },
  { title: "saturated", unit: "count", cell: ({ weight }) => weight.saturatedCount },
  { title: "zeroed", unit: "count", cell: ({ weight }) => weight.zeroedCount },
  { title: "not finite", unit: "count", cell: ({ weight }) => weight.nonFiniteCount, isCommon: true },
  { title: "largest error", unit: "number", cell: ({ weight }) => weight.largestError },
];

/** Every linear layer with all of its figures. */
export function linearTable(linears: readonly LinearReport[]): Part {
  const columns = linearColumns.filter(
    ({ cell, isCommon }) => !isCommon || new Set(linears.map((linear) => cell(linear))).size > 1,
  );
  return {
    kind: "table",
    columns: columns.map(({ title, unit }) => ({ title, ...(unit === undefined ? {} : { unit }) })),
    rows: linears.map((linear) => columns.map(({ cell }) => cell(linear))),
  };
}
