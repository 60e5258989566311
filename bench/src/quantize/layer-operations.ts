import type { ModelConfig } from "@kvant/checkpoint";
import type { LayerPart } from "@kvant/quantizers";
import type { PhaseName } from "./phase-clock.ts";

// Defaults of `searchAwqScales` and `searchAwqClip`, the whole range included.
const scaleCandidates = 20;
const clipCandidates = 21;

export interface LayerWork {
  readonly config: ModelConfig;
  readonly parts: readonly LayerPart[];
  /** Rows of a module of a part. */
  readonly rowsOf: (module: string) => number;
  readonly sequences: number;
  readonly sequenceTokens: number;
  /** Columns that share a scale, or more than there are. */
  readonly groupCols: number;
}

/** Operations that a phase needs, a multiply-add being two, in the two precisions that they run in. */
export interface PhaseOperations {
  readonly float32: number;
  readonly float64: number;
}

/**
 * What quantizing one decoder layer takes, however it is computed: symmetric results count half, triangles as triangles.
 *
 * - a forward pass: `2 T N K` per matrix and `4 T (T + 1) / 2 heads headDim` per sequence of T tokens in attention;
 * - Gram matrices: `T K (K + 1)`;
 * - GPTQ: `K^3 / 3` each for the factor and its inverse, `N K^2` to update the columns to come;
 * - output errors `E G E^T`: `2 N K^2`, twice in GPTQ, once per candidate of AWQ's scales, once for the energy of the outputs;
 * - clipping: `2 N K group` per candidate, and two output errors.
 */
export function layerOperations(work: LayerWork): Readonly<Record<PhaseName, PhaseOperations>> {
  const { config, parts, rowsOf, sequences, sequenceTokens, groupCols } = work;
  const tokens = sequences * sequenceTokens;
  const attention = sequences * 2 * sequenceTokens * (sequenceTokens + 1) * config.headCount * config.headDim;
  let forward = attention;
  let gram = 0;
  let gptq = 0;
  let errors = 0; // of all matrices once
  let clipping = 0;
  for (const { modules, width } of parts) {
    gram += tokens * width * (width + 1);
    gptq += (2 / 3) * width ** 3;
    for (const module of modules) {
      const rows = rowsOf(module);
      forward += 2 * tokens * rows * width;
      gptq += rows * width ** 2;
      errors += 2 * rows * width ** 2;
      clipping += 2 * rows * width * Math.min(groupCols, width) * clipCandidates;
    }
  }
  return {
    statistics: { float32: forward, float64: gram },
    gptq: { float32: 0, float64: gptq + 2 * errors },
    "awq scales": { float32: 0, float64: scaleCandidates * errors },
    "awq clipping": { float32: 0, float64: clipping + 2 * errors },
    "output errors": { float32: 0, float64: errors },
    report: { float32: 0, float64: 0 },
    "forward again": { float32: forward, float64: 0 },
  };
}
