import type { Backend, Executable } from "../../backend.ts";
import { loadsByRows } from "../../weight-values.ts";
import { absentKernels } from "../absent-kernels.ts";
import { floatSource, prepare } from "../conformance-case.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { StepDriver } from "../step-driver.ts";
import { type TinyDecoder, tinyDecoder, tinyDecoders } from "../tiny-decoder.ts";
import { differentBits } from "./compare-bits.ts";

const seed = 31;
// Neither a divisor nor a multiple of any block of rows.
const chunkRows = 19;

/** Where a backend takes rows, a weight that arrives in pieces, the last first, is the one that arrives whole. */
export const weightRowChecks: readonly ConformanceCheck[] = tinyDecoders.map((kind) => ({
  group: "weight rows",
  name: `${kind.name}: weights in pieces of ${chunkRows} rows leave the bits of whole ones`,
  absentOn: absentKernels(kind.activation),
  run: async (create: BackendFactory) => {
    const backend = create();
    const setup = tinyDecoder(kind, seed);
    const whole = await logitsOf(kind, prepare(setup, backend));
    const pieces = await logitsOf(kind, loadInPieces(kind, backend));
    const difference = differentBits(`logits (seed ${seed})`, pieces, whole);
    return difference === undefined ? [] : [difference];
  },
}));

function loadInPieces(kind: TinyDecoder, backend: Backend): Executable {
  const { plan, options, weights } = tinyDecoder(kind, seed);
  const executable = backend.compile(plan, options);
  for (const weight of plan.weights) {
    const values = weights.get(weight.id)!;
    if (executable.loadWeightRows === undefined || !loadsByRows(weight)) {
      executable.loadWeight(weight.id, floatSource(values));
      continue;
    }
    const { rows, cols } = weight;
    for (let first = Math.floor((rows - 1) / chunkRows) * chunkRows; first >= 0; first -= chunkRows) {
      executable.loadWeightRows(
        weight.id,
        first,
        floatSource(values.subarray(first * cols, (first + chunkRows) * cols)),
      );
    }
  }
  return executable;
}

async function logitsOf(kind: TinyDecoder, executable: Executable): Promise<Float32Array> {
  const driver = new StepDriver(executable, tinyDecoder(kind, seed).options);
  const { logits } = await driver.step([{ slot: 0, tokenIds: [1, 5, 7, 99, 3], wants: "logits" }]);
  await executable.close();
  return logits;
}
