import { parseWeightFormat, quantizeAbsMax, weightFormats } from "@kvant/formats";
import type { Backend, Executable } from "../../backend.ts";
import type { ActivationScheme, PlanWeight } from "../../plan.ts";
import { loadsByRows } from "../../weight-values.ts";
import { absentKernels } from "../absent-kernels.ts";
import { linearSchemes, tokenScheme } from "../cases/linear.ts";
import { floatSource, prepare } from "../conformance-case.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { oneProduct } from "../one-product.ts";
import { Random } from "../random.ts";
import { StepDriver } from "../step-driver.ts";
import { type TinyDecoder, tinyDecoder, tinyDecoders } from "../tiny-decoder.ts";
import { differentBits } from "./compare-bits.ts";

const seed = 37;
// Whole and broken tiles of tokens; groups that do not divide the row.
const [tokens, cols, rows] = [19, 171, 37];
// Neither a divisor nor a multiple of any block of rows.
const chunkRows = 19;

/** Every weight format of the numbers and scales of linear cases: those that every backend makes from floats. */
const multiplied = new Set(
  linearSchemes
    .map(([weights]) => parseWeightFormat(weights))
    .map(({ format, scaleFormat }) => `${format} ${scaleFormat}`),
);
const codedFormats = [...weightFormats].filter(([, { format, granularity, affine, scaleFormat }]) => {
  if (granularity === undefined || granularity.kind === "tile" || (affine && granularity.kind === "tensor"))
    return false;
  return multiplied.has(`${format} ${scaleFormat}`);
});

/** The codes that a backend would make of floats leave the bits of those floats, whole and in pieces, in every scheme. */
export const weightCodeChecks: readonly ConformanceCheck[] = [
  ...codedFormats.flatMap(([name, { format }]) =>
    (format === "int8" || format === "int4" ? (["fp32", "int8"] as const) : (["fp32"] as const)).map((activation) =>
      linearCheck(name, activation),
    ),
  ),
  ...tinyDecoders.map((kind) => ({
    group: "weight codes",
    name: `${kind.name}: codes leave the bits of the floats that they are made of, in fused matrices too`,
    absentOn: absentKernels(kind.activation),
    run: async (create: BackendFactory) => {
      const expected = await decoderLogits(kind, prepare(tinyDecoder(kind, seed), create()));
      const difference = differentBits(
        `logits (seed ${seed})`,
        await decoderLogits(kind, loadDecoderCodes(kind, create())),
        expected,
      );
      return difference === undefined ? [] : [difference];
    },
  })),
];

function linearCheck(weights: string, format: ActivationScheme["format"]): ConformanceCheck {
  const activation = tokenScheme(format);
  return {
    group: "weight codes",
    name: `linear ${weights} x ${format}: codes leave the bits of the floats that they are made of`,
    absentOn: absentKernels(activation),
    run: async (create) => {
      const random = new Random(seed);
      const values = random.normals(rows * cols, 0.1);
      const x = random.normals(tokens * cols);
      const expected = await oneProduct({ weights, activation, rows, cols, x }, create(), (executable, { id }) =>
        executable.loadWeight(id, floatSource(values)),
      );
      const actual = await oneProduct({ weights, activation, rows, cols, x }, create(), (executable, weight) =>
        loadCodes(executable, weight, values),
      );
      const difference = differentBits(`the product (seed ${seed})`, actual, expected);
      return difference === undefined ? [] : [difference];
    },
  };
}

function loadDecoderCodes(kind: TinyDecoder, backend: Backend): Executable {
  const { plan, options, weights } = tinyDecoder(kind, seed);
  const executable = backend.compile(plan, options);
  for (const weight of plan.weights) {
    const values = weights.get(weight.id)!;
    if (weight.format.granularity === undefined) executable.loadWeight(weight.id, floatSource(values));
    else loadCodes(executable, weight, values);
  }
  return executable;
}

/** Whole where a scale is for the whole tensor; else in pieces, the last first. */
function loadCodes(executable: Executable, weight: PlanWeight, values: Float32Array): void {
  const { id, rows, cols, format } = weight;
  if (!loadsByRows(weight)) {
    executable.loadQuantized(id, 0, quantizeAbsMax(values, rows, cols, format));
    return;
  }
  for (let first = Math.floor((rows - 1) / chunkRows) * chunkRows; first >= 0; first -= chunkRows) {
    const piece = values.subarray(first * cols, (first + chunkRows) * cols);
    executable.loadQuantized(id, first, quantizeAbsMax(piece, piece.length / cols, cols, format));
  }
}

async function decoderLogits(kind: TinyDecoder, executable: Executable): Promise<Float32Array> {
  const driver = new StepDriver(executable, tinyDecoder(kind, seed).options);
  const { logits } = await driver.step([{ slot: 0, tokenIds: [1, 5, 7, 99, 3], wants: "logits" }]);
  await executable.close();
  return logits;
}
