import { loadAddon } from "@kvant/kernels";
import { type LinearReport, parseRecipe, quantizeModel, type Recipe } from "@kvant/quantizers";
import { median } from "../median.ts";
import { probesOf } from "../probes.ts";
import { layerOperations, type PhaseOperations } from "./layer-operations.ts";
import { type PhaseName, phaseNames } from "./phase-clock.ts";
import { TimedLayer } from "./timed-layer.ts";

export interface MeasureQuantizationOptions {
  /** A named shape, such as `llama3-8b`, or a model folder, whose weights are not read. */
  readonly shape: string;
  readonly device: string;
  readonly threads?: number | undefined;
  /** Calibration sequences, and tokens of each. */
  readonly samples: number;
  readonly sampleTokens: number;
  /** In the words of a recipe. */
  readonly scheme: string;
  readonly granularity?: string | undefined;
  readonly method: string;
  readonly actOrder: boolean;
  /** How often the layer is measured, after a run with a single short sequence that is not. */
  readonly rounds: number;
  readonly onProgress?: (phase: string) => void;
}

/** One part of the work on a layer; rates are undefined where nothing was computed. */
export interface PhaseMeasurement {
  readonly phase: PhaseName;
  readonly seconds: number;
  /** Operations that the phase needs. */
  readonly teraOperations: number;
  /** Of the time, what multipliers of float32 and float64 would need at their measured peak; null without a probe, or work. */
  readonly percentOfPeak: number | null;
}

export interface QuantizationMeasurement {
  readonly shape: string;
  readonly device: string;
  readonly scheme: string;
  readonly granularity: string | null;
  readonly method: string;
  readonly samples: number;
  readonly sampleTokens: number;
  /** What the forward passes and the methods computed with. */
  readonly layers: string;
  readonly methods: string;
  /** Of the last round, from the hidden states before the layer to those behind it, with its codes and its report. */
  readonly seconds: number;
  /** Of each round. */
  readonly roundSeconds: readonly number[];
  readonly phases: readonly PhaseMeasurement[];
  /** Mean over matrices of the relative output error of the method over that of round to nearest. */
  readonly outputErrorRatio: number;
  /** null on the CPU. */
  readonly peakDeviceBytes: number | null;
  readonly peakResidentBytes: number;
  /** Operations per second that the multipliers can do at most; null without a probe. */
  readonly peakFloat32TeraOperationsPerSecond: number | null;
  readonly peakFloat64TeraOperationsPerSecond: number | null;
}

/** Tokens of the layer that is not measured: it loads kernels and libraries. */
const warmUpTokens = 64;

/**
 * Quantizes a decoder layer of random weights over random calibration states through `quantizeModel`, and says where the time
 * goes. Drawing weights and states does not count.
 * @throws KvantError CONFIG_INVALID for an unknown shape, INVALID_ARGUMENT for a recipe, and what a device throws
 */
export async function measureQuantization(options: MeasureQuantizationOptions): Promise<QuantizationMeasurement> {
  const { shape, device, threads, samples, sampleTokens, scheme, granularity, method, rounds } = options;
  const { onProgress = () => undefined } = options;
  const recipe = parseRecipe({
    rules: [{ match: "*", scheme, method, ...(granularity === undefined ? {} : { granularity }) }],
    ignore: [],
    gptq: { actOrder: options.actOrder },
  });
  const layers = new TimedLayer({ shape, device, threads });
  onProgress("drawing weights");
  for (const name of layers.tensorNames(0)) layers.readTensor(name);
  onProgress("warming up");
  await quantizeOnce(layers, recipe, 1, Math.min(warmUpTokens, sampleTokens));
  const runs: Awaited<ReturnType<typeof quantizeOnce>>[] = [];
  for (let round = 1; round <= rounds; round++) {
    onProgress(`round ${round} of ${rounds}`);
    runs.push(await quantizeOnce(layers, recipe, samples, sampleTokens));
  }
  const { clock, reports } = runs.at(-1)!;
  const peakResidentBytes = process.resourceUsage().maxRSS * 1024;
  const isCuda = device.startsWith("cuda");
  const peakDeviceBytes = isCuda ? loadAddon().cudaMemory(device).peak : null;
  const peaks = peaksOf(layers, device);
  const operations = layerOperations({
    config: layers.config,
    parts: layers.parts(0),
    rowsOf: (module) => reports.find(({ name }) => name === module)!.rows,
    sequences: samples,
    sequenceTokens: sampleTokens,
    groupCols: groupColsOf(recipe),
  });
  const ratios = reports.flatMap(({ outputRelativeError: own, roundToNearestOutputError: nearest }) =>
    own === null || !nearest ? [] : [own / nearest],
  );
  return {
    ...{ shape, device, scheme, granularity: granularity ?? null, method, samples, sampleTokens },
    ...layers.arithmetic,
    seconds: clock.total(),
    roundSeconds: runs.map((run) => run.clock.total()),
    phases: phaseNames.flatMap((phase) => {
      const seconds = clock.seconds(phase);
      return seconds === 0 ? [] : [phaseMeasurement(phase, seconds, operations[phase], peaks)];
    }),
    outputErrorRatio: ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length,
    peakDeviceBytes,
    peakResidentBytes,
    peakFloat32TeraOperationsPerSecond: peaks === undefined ? null : peaks.float32 / 1e12,
    peakFloat64TeraOperationsPerSecond: peaks === undefined ? null : peaks.float64 / 1e12,
  };
}

async function quantizeOnce(layers: TimedLayer, recipe: Recipe, samples: number, sampleTokens: number) {
  const clock = layers.startClock();
  const reports: LinearReport[] = [];
  await quantizeModel({
    runtime: layers,
    readTensor: (name) => layers.readTensor(name),
    recipe,
    samples: Array.from({ length: samples }, (_, sample) => new Int32Array(sampleTokens).fill(sample)),
    onLayer: (_, finished) => {
      reports.push(...finished.reports);
      clock.stop("report");
    },
  });
  return { clock, reports };
}

/** Columns that share a scale in the recipe's first rule. */
function groupColsOf({ rules }: Recipe): number {
  const granularity = rules[0]!.linear.weightFormat.granularity;
  return granularity?.kind === "group" ? granularity.size : Infinity;
}

interface Peaks {
  readonly float32: number; // operations per second
  readonly float64: number;
}

/** Of the device's multipliers; float64 of the CPU is half its float32. */
function peaksOf({ runner }: TimedLayer, device: string): Peaks | undefined {
  const { threads, tier } = runner.backendInfo;
  const probes = probesOf({ device, threads, tier });
  if (probes === undefined) return undefined;
  const float32 = probes.compute("fp32");
  if (!device.startsWith("cuda")) return { float32, float64: float32 / 2 };
  return { float32, float64: median(loadAddon().probeDeviceMatmul(device, "fp64", 9)) };
}

function phaseMeasurement(
  phase: PhaseName,
  seconds: number,
  { float32, float64 }: PhaseOperations,
  peaks: Peaks | undefined,
): PhaseMeasurement {
  const least = peaks === undefined ? 0 : float32 / peaks.float32 + float64 / peaks.float64;
  return {
    phase,
    seconds,
    teraOperations: (float32 + float64) / 1e12,
    percentOfPeak: least === 0 ? null : (100 * least) / seconds,
  };
}
