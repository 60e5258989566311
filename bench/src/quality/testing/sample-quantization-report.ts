import type {
  LinearReport,
  MagnitudeHistogram,
  QualityReport,
  QuantizationReport,
  ValueHistogram,
} from "@kvant/quantizers";

/** Uniform numbers from 0 to 1, the same for the same seed (a linear congruential generator of 32 bits). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const projections = [
  { name: "self_attn.q_proj", rows: 512, cols: 512, spread: 1 },
  { name: "self_attn.k_proj", rows: 128, cols: 512, spread: 1.3 },
  { name: "self_attn.v_proj", rows: 128, cols: 512, spread: 0.7 },
  { name: "self_attn.o_proj", rows: 512, cols: 512, spread: 0.8 },
  { name: "mlp.gate_proj", rows: 1408, cols: 512, spread: 0.9 },
  { name: "mlp.up_proj", rows: 1408, cols: 512, spread: 0.85 },
  { name: "mlp.down_proj", rows: 512, cols: 1408, spread: 0.75 },
] as const;

/** A report as a run of GPTQ at four bits would leave it, with figures in the sizes that one sees. */
export function sampleQuantizationReport({ seed = 1, layerCount = 8 } = {}): QuantizationReport {
  const random = randomNumbers(seed);
  const layers = Array.from({ length: layerCount }, (_, layer) => layer);
  const linears = layers.flatMap((layer) =>
    projections.map((projection) =>
      linearReport(`model.layers.${layer}.${projection.name}`, projection, layer, random),
    ),
  );
  const weights = linears.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  const kept = keptTensors(layers);
  const keptBytes = kept.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    version: 1,
    model: "sample-model",
    recipe: { scheme: "int4", method: "gptq", granularity: "group:128", ignore: ["lm_head"] },
    calibration: { files: ["calibration.txt"], sampleCount: 128, sampleTokens: 512, seed },
    linears,
    kept,
    kv: {
      format: "e4m3",
      granularity: "head",
      layers: layers.map((layer) => ({
        layer,
        k: Array.from({ length: 4 }, () => 0.02 * (1 + random()) * (layer === 0 ? 3 : 1)),
        v: Array.from({ length: 4 }, () => 0.004 * (1 + layer / layerCount + random())),
      })),
    },
    bytesBefore: weights * 2 + keptBytes,
    bytesAfter: (weights * 4.25) / 8 + keptBytes,
    bitsPerWeight: 4.25,
    seconds: 41.7,
    peakResidentBytes: 812e6,
  };
}

export const sampleQuality: QualityReport = {
  text: "held-out.txt",
  tokens: 131_072,
  originalPerplexity: 8.102,
  quantizedPerplexity: 8.2154,
  nllDifference: { mean: 0.0139, low: 0.0112, high: 0.0166 },
  klDivergence: 0.01873,
  top1Agreement: 0.9472,
};

function linearReport(
  name: string,
  { rows, cols, spread }: { rows: number; cols: number; spread: number },
  layer: number,
  random: () => number,
): LinearReport {
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const deviation = 0.03 * spread * (1 + layer / 40);
  const scale = (deviation * 2.9) / 7;
  const values = Array.from({ length: 3000 }, () => normal() * deviation);
  const decoded = values.map((value) => Math.max(-8, Math.min(7, Math.round(value / scale))) * scale);
  const outliers = name.endsWith("down_proj") ? 0.004 : 0.0005;
  const inputs = Array.from({ length: 4000 }, () => normal() * (random() < outliers ? 40 : 1));
  const relativeError = 0.1 * (0.9 + 0.2 * random());
  const nearest = relativeError * spread * (0.7 + 0.5 * random()) * (layer === 1 ? 2.2 : 1);
  return {
    ...{ name, rows, cols, weightFormat: "int4-g128", activations: "bf16", method: "gptq", bitsPerWeight: 4.25 },
    weight: {
      sqnrDecibels: -20 * Math.log10(relativeError),
      relativeError,
      largestError: deviation * (0.3 + 0.3 * random()),
      saturatedCount: Math.floor(random() * 40),
      zeroedCount: Math.floor(rows * cols * 0.15 * (0.9 + 0.2 * random())),
      nonFiniteCount: 0,
    },
    outputRelativeError: nearest * (0.55 + 0.3 * random()),
    roundToNearestOutputError: nearest,
    weightsBefore: valueHistogram(values),
    weightsAfter: valueHistogram(decoded),
    scales: magnitudeHistogram(Array.from({ length: 400 }, () => scale * Math.exp(0.35 * normal()))),
    activationsBefore: magnitudeHistogram(inputs),
    activationsAfter: magnitudeHistogram(
      name.endsWith("down_proj") ? inputs.map((x) => Math.sign(x) * Math.sqrt(Math.abs(x))) : inputs,
    ),
    activationScale: null,
    notes: random() < 0.1 ? ["3 dead input channels", `damping raised to ${formatDamping(random())}`] : [],
  };
}

function formatDamping(at: number): string {
  return at < 0.5 ? "0.02" : "0.05";
}

function keptTensors(layers: readonly number[]): QuantizationReport["kept"] {
  return [
    {
      name: "model.embed_tokens.weight",
      format: "bf16",
      bytes: 32_000 * 512 * 2,
      reason: "the embedding table is looked up, not multiplied",
    },
    { name: "lm_head.weight", format: "bf16", bytes: 32_000 * 512 * 2, reason: "ignored by the recipe" },
    ...layers.flatMap((layer) =>
      ["input_layernorm", "post_attention_layernorm"].map((norm) => ({
        ...{ name: `model.layers.${layer}.${norm}.weight`, format: "bf16", bytes: 1024, reason: "not a matrix" },
      })),
    ),
  ];
}

function valueHistogram(values: readonly number[], bins = 64): ValueHistogram {
  const reach = Math.max(...values.map(Math.abs));
  const counts = new Array<number>(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor(((value + reach) / (2 * reach)) * bins))]!++;
  return { low: -reach, high: reach, counts };
}

function magnitudeHistogram(values: readonly number[], binsPerOctave = 4): MagnitudeHistogram {
  const [lowExponent, octaves] = [-20, 32];
  const counts = new Array<number>(octaves * binsPerOctave).fill(0);
  for (const value of values)
    if (value !== 0) counts[Math.floor((Math.log2(Math.abs(value)) - lowExponent) * binsPerOctave)]!++;
  return { lowExponent, binsPerOctave, counts, zeroCount: values.filter((value) => value === 0).length };
}
