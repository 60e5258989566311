import { weightBytes, weightFormatName } from "@kvant/formats";
import type { ActivationScheme, Plan, PlanWeight, WeightClass } from "@kvant/kernels";

/** Weights of one class that are held and multiplied the same way. */
export interface SchemeRow {
  readonly class: WeightClass;
  /** Full name, such as `int8-channel`. */
  readonly format: string;
  /** Such as `bf16`, `int8 (per token)`, `int8 (static)`; undefined for weights that are not multiplied. */
  readonly activations: string | undefined;
  readonly isQuantized: boolean;
  readonly tensorCount: number;
  readonly parameterCount: number;
  readonly codeBytes: number;
  readonly scaleBytes: number;
}

/** What is really quantized and what stayed in 16 or 32 bit, per tensor class, in the order of first use. */
export function describeScheme(plan: Pick<Plan, "weights">): readonly SchemeRow[] {
  const rows = new Map<string, SchemeRow>();
  for (const weight of plan.weights) {
    const format = weightFormatName(weight.format);
    const activations = activationName(weight.activation);
    const key = `${weight.class} ${format} ${activations}`;
    rows.set(key, addTo(rows.get(key), weight, format, activations));
  }
  return [...rows.values()];
}

/** The rows as lines of text, such as `linear     int8-channel  x int8 (per token)   28 tensors   7.1 MB`. */
export function schemeLines(rows: readonly SchemeRow[]): readonly string[] {
  return rows.map((row) => {
    const product = row.activations === undefined ? "" : `x ${row.activations}`;
    const megabytes = ((row.codeBytes + row.scaleBytes) / 1e6).toFixed(2);
    return [
      row.class.padEnd(10),
      row.format.padEnd(13),
      product.padEnd(20),
      `${row.tensorCount} tensors`.padStart(12),
      `${megabytes} MB`.padStart(12),
      row.isQuantized ? "  quantized" : "  not quantized",
    ].join("");
  });
}

function addTo(
  row: SchemeRow | undefined,
  weight: PlanWeight,
  format: string,
  activations: string | undefined,
): SchemeRow {
  const bytes = weightBytes(weight.format, weight.rows, weight.cols);
  return {
    class: weight.class,
    format,
    activations,
    isQuantized: weight.format.granularity !== undefined,
    tensorCount: (row?.tensorCount ?? 0) + 1,
    parameterCount: (row?.parameterCount ?? 0) + weight.rows * weight.cols,
    codeBytes: (row?.codeBytes ?? 0) + bytes.codes,
    scaleBytes: (row?.scaleBytes ?? 0) + bytes.scales,
  };
}

function activationName(activation: ActivationScheme | undefined): string | undefined {
  if (activation === undefined) return undefined;
  if (!("scale" in activation)) return activation.format;
  return `${activation.format} (${activation.scale === "token" ? "per token" : "static"})`;
}
