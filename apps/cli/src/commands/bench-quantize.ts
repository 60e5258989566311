import { measureQuantization, type QuantizationMeasurement } from "@kvant/bench";
import { accelerate } from "../accelerate.ts";
import { megabytes, printRow, say, table } from "../print.ts";

export interface BenchQuantizeFlags {
  readonly shape: string;
  readonly device: string;
  readonly samples: number;
  readonly sampleTokens: number;
  readonly scheme: string;
  readonly method: string;
  readonly granularity?: string;
  readonly actOrder?: boolean;
  readonly threads?: number;
  readonly rounds: number;
  readonly json?: boolean;
}

/** Schemes whose groups are part of their format. */
const groupedSchemes = ["mxfp4", "nvfp4"];

/** Measures what quantizing one decoder layer takes. */
export async function benchQuantize(flags: BenchQuantizeFlags): Promise<void> {
  accelerate(flags.threads);
  const { scheme, granularity = groupedSchemes.includes(scheme) ? undefined : "group:128" } = flags;
  const measured = await measureQuantization({
    shape: flags.shape,
    device: flags.device,
    threads: flags.threads,
    samples: flags.samples,
    sampleTokens: flags.sampleTokens,
    scheme,
    granularity,
    method: flags.method,
    actOrder: flags.actOrder === true,
    rounds: flags.rounds,
    onProgress: (phase) => say(`${flags.shape} ${flags.method}: ${phase}`),
  });
  if (flags.json) printRow(measured);
  else process.stdout.write(`${measurementText(measured)}\n`);
}

function measurementText(measured: QuantizationMeasurement): string {
  const { shape, method, scheme, granularity, samples, sampleTokens, layers, methods } = measured;
  const { peakFloat32TeraOperationsPerSecond: float32, peakFloat64TeraOperationsPerSecond: float64 } = measured;
  const peaks =
    float32 === null || float64 === null
      ? "no probe of multipliers without the addon"
      : `multipliers do ${float32.toFixed(2)} TOP/s of float32 and ${float64.toFixed(2)} of float64`;
  const rows = measured.phases.map(({ phase, seconds, teraOperations, percentOfPeak }) => [
    phase,
    seconds.toFixed(2),
    teraOperations === 0 ? "-" : teraOperations.toFixed(3),
    teraOperations === 0 ? "-" : (teraOperations / seconds).toFixed(2),
    percentOfPeak?.toFixed(1) ?? "-",
  ]);
  const device = measured.peakDeviceBytes === null ? "" : `${megabytes(measured.peakDeviceBytes)} of device memory, `;
  return [
    `one layer of ${shape}, ${method} to ${scheme}${granularity === null ? "" : ` ${granularity}`}, ${samples} x ${sampleTokens} tokens`,
    `layers in ${layers}; methods in ${methods}; ${peaks}`,
    table(
      ["phase", "seconds", "TOP", "TOP/s", "% of peak"],
      [...rows, ["all", measured.seconds.toFixed(2), "-", "-", "-"]],
    ),
    `output error x ${measured.outputErrorRatio.toFixed(3)} of round to nearest; at most ${device}${megabytes(measured.peakResidentBytes)} resident`,
  ].join("\n");
}
