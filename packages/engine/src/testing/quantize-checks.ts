import {
  dequantize,
  parseWeightFormat,
  type QuantizedTensor,
  type WeightFormat,
  weightFormatName,
} from "@kvant/formats";
import { Random } from "@kvant/kernels/conformance";
import {
  type CalibrationGram,
  PartCollector,
  type PartStatistics,
  roundingErrors,
  type StatisticsCollector,
} from "@kvant/quantizers";

/** Where statistics are gathered and methods compute. */
export type CreateCollector = (width: number, tokenCount: number) => StatisticsCollector;

export interface QuantizeCheck {
  readonly name: string;
  /** Sentences about what is wrong; none where nothing is. */
  readonly run: (create: CreateCollector) => readonly string[];
}

const seed = 61_001;
const collectHere: CreateCollector = (width, tokenCount) => new PartCollector(width, tokenCount);

/** Of float64 sums in another order over up to some thousand terms. */
const sumTolerance = 1e-10;
/** Codes may differ where such sums meet a rounding of GPTQ, and then everything behind them in the row. */
const methodTolerance = 1e-3;

const group = (format: WeightFormat["format"], size: number, affine = false): WeightFormat => ({
  format,
  granularity: { kind: "group", size },
  affine,
});

/** One of each way to code, and groups that divide 128 columns, do not, and are wider; all a recipe can name. */
const weightFormats: readonly WeightFormat[] = [
  ...["int4-tensor", "int4-channel", "int8-channel", "int4-channel-affine", "e4m3-channel", "mxfp4", "nvfp4"].map(
    (name) => parseWeightFormat(name),
  ),
  ...[
    group("int4", 128),
    group("int4", 32, true),
    group("int3", 48),
    group("int2", 16),
    group("e2m1", 40),
    group("int4", 200),
  ],
  group("int8", 1000),
];

/** Rows, columns and tokens: a part of a tile, several tiles, more columns than tokens, and a single row. */
const shapes = [
  [5, 70, 200],
  [40, 300, 500],
  [64, 256, 100],
  [1, 129, 300],
] as const;

/** What every device that gathers and quantizes is held to, the functions of `@kvant/quantizers` in this process being the oracle. */
export const quantizeChecks: readonly QuantizeCheck[] = [
  { name: `statistics of several batches (seed ${seed})`, run: checkStatistics },
  { name: "a Gram matrix divided by scales", run: checkDivision },
  { name: "activations that are no numbers are refused", run: refusesNan },
  { name: "rank-deficient Hessians and dead channels", run: checkDeficient },
  { name: "a matrix that no damping helps is refused", run: refusesIndefinite },
  ...weightFormats.flatMap((weightFormat) => {
    const name = weightFormatName(weightFormat);
    return [
      { name: `gptq to ${name}`, run: (create: CreateCollector) => checkGptq(create, weightFormat, false) },
      { name: `gptq to ${name} in act-order`, run: (create: CreateCollector) => checkGptq(create, weightFormat, true) },
      { name: `awq scales for ${name}`, run: (create: CreateCollector) => checkAwqScales(create, weightFormat) },
      { name: `awq clipping of ${name}`, run: (create: CreateCollector) => checkAwqClip(create, weightFormat) },
    ];
  }),
];

function checkStatistics(create: CreateCollector): readonly string[] {
  const failures: string[] = [];
  for (const [, width, tokens] of shapes) {
    const x = activations(width, tokens);
    const found = gathered(create, x, width, tokens);
    const expected = gathered(collectHere, x, width, tokens);
    const place = `width ${width}`;
    failures.push(
      ...same(`${place}: mean magnitudes`, found.meanMagnitude, expected.meanMagnitude),
      ...same(`${place}: largest magnitudes`, found.maxMagnitude, expected.maxMagnitude),
      ...same(`${place}: the sample`, found.sample, expected.sample),
      ...close(`${place}: the Gram matrix`, found.gram.read(), expected.gram.read(), sumTolerance),
    );
    const histograms = [found, expected].map(({ magnitudes }) => JSON.stringify(magnitudes.histogram()));
    if (histograms[0] !== histograms[1]) failures.push(`${place}: histograms ${histograms[0]} and ${histograms[1]}`);
    if (found.tokenCount !== tokens) failures.push(`${place}: ${found.tokenCount} tokens of ${tokens}`);
    found.gram.release();
  }
  return failures;
}

function checkDivision(create: CreateCollector): readonly string[] {
  const [, width, tokens] = shapes[1];
  const scales = new Random(seed + 1).normals(width).map((value) => Math.exp(value));
  const [found, expected] = both(create, activations(width, tokens), width, tokens);
  const divided = found.gram.divide(scales);
  const failures = close("the divided Gram matrix", divided.read(), expected.gram.divide(scales).read(), sumTolerance);
  divided.release();
  found.gram.release();
  return failures;
}

function refusesNan(create: CreateCollector): readonly string[] {
  const x = activations(70, 50);
  x[70 * 7 + 3] = Number.NaN;
  return refused(() => gathered(create, x, 70, 50), "channel 3 add up to NaN");
}

function checkDeficient(create: CreateCollector): readonly string[] {
  const failures: string[] = [];
  const [rows, width] = [8, 150];
  const weightFormat = parseWeightFormat("int4-channel");
  for (const [tokens, damping] of [
    [20, 0.01],
    [20, 0],
    [0, 0.01],
  ] as const) {
    const x = activations(width, tokens);
    for (let i = 5; i < x.length; i += width) x[i] = 0;
    const [found, expected] = both(create, x, width, tokens);
    const values = new Random(seed + 2).normals(rows * width);
    const results = [found, expected].map(({ gram }) =>
      gram.quantizeGptq(values, rows, weightFormat, { damping, actOrder: false }),
    );
    const [own, oracle] = results as [(typeof results)[0], (typeof results)[0]];
    const place = `${tokens} tokens, damping ${damping}`;
    if (own.damping !== oracle.damping) failures.push(`${place}: damped with ${own.damping}, not ${oracle.damping}`);
    if (own.deadColumnCount !== oracle.deadColumnCount) failures.push(`${place}: ${own.deadColumnCount} dead columns`);
    // Without damping the factor of a singular matrix is rounding errors.
    if (damping > 0) failures.push(...notWorse(place, own.outputErrorAfter, oracle.outputErrorAfter));
    if (own.outputErrorAfter > own.outputErrorBefore) failures.push(`${place}: worse than round to nearest`);
    found.gram.release();
  }
  return failures;
}

function refusesIndefinite(create: CreateCollector): readonly string[] {
  const width = 4;
  const collector = create(width, 1);
  collector.add(new Float32Array(width).fill(1), 1);
  const { gram } = collector.statistics();
  const quantize = () =>
    gram.quantizeGptq(new Float32Array(width), 1, parseWeightFormat("int4-channel"), {
      damping: Number.NaN,
      actOrder: false,
    });
  const failures = refused(quantize, "damping is a fraction of the mean diagonal, not");
  gram.release();
  return failures;
}

function checkGptq(create: CreateCollector, weightFormat: WeightFormat, actOrder: boolean): readonly string[] {
  const failures: string[] = [];
  for (const [rows, width, tokens] of shapes) {
    const place = `[${rows}, ${width}]`;
    const [found, expected] = both(create, activations(width, tokens), width, tokens);
    const values = new Random(seed + rows).normals(rows * width);
    const options = { damping: 0.01, actOrder };
    const oracle = expected.gram.quantizeGptq(values, rows, weightFormat, options);
    // A second time with the factor that is kept by then.
    for (const result of [0, 1].map(() => found.gram.quantizeGptq(values, rows, weightFormat, options))) {
      const { tensor, restored, outputErrorBefore, outputErrorAfter } = result;
      failures.push(
        ...notWorse(`${place}: the output error`, outputErrorAfter, oracle.outputErrorAfter),
        ...near(`${place}: the error of round to nearest`, outputErrorBefore, oracle.outputErrorBefore, 1e-9),
        ...near(`${place}: the error that was told`, errorOf(values, tensor, expected.gram), outputErrorAfter, 1e-7),
        ...sameValues(`${place}: values that were told`, tensor, restored),
      );
      if (result.damping !== oracle.damping) failures.push(`${place}: damping ${result.damping}`);
    }
    found.gram.release();
  }
  return failures;
}

function checkAwqScales(create: CreateCollector, weightFormat: WeightFormat): readonly string[] {
  const failures: string[] = [];
  for (const [rows, width, tokens] of shapes) {
    const [found, expected] = both(create, activations(width, tokens), width, tokens);
    const linears = [rows, 7].map((each, index) => ({
      values: new Random(seed + index).normals(each * width),
      rows: each,
    }));
    const request = { linears, activationMagnitude: expected.meanMagnitude, weightFormat };
    const losses = found.gram.searchAwqScales(request).losses;
    failures.push(...close(`[${rows}, ${width}]: losses`, losses, expected.gram.searchAwqScales(request).losses, 1e-8));
    found.gram.release();
  }
  return failures;
}

function checkAwqClip(create: CreateCollector, weightFormat: WeightFormat): readonly string[] {
  const failures: string[] = [];
  for (const [rows, width, tokens] of shapes) {
    const place = `[${rows}, ${width}]`;
    const [found, expected] = both(create, activations(width, tokens), width, tokens);
    const request = { values: new Random(seed + rows).normals(rows * width), rows, weightFormat };
    const clip = found.gram.searchAwqClip(request);
    const oracle = expected.gram.searchAwqClip(request);
    failures.push(
      ...near(`${place}: the loss before`, clip.lossBefore, oracle.lossBefore, 1e-9),
      ...near(`${place}: the loss after`, clip.lossAfter, oracle.lossAfter, methodTolerance),
      ...near(
        `${place}: the loss that was told`,
        errorOf(request.values, clip.tensor, expected.gram),
        clip.lossAfter,
        1e-7,
      ),
      ...sameValues(`${place}: values that were told`, clip.tensor, clip.restored),
    );
    found.gram.release();
  }
  return failures;
}

/** Activations whose channels share causes and differ in size, as those of a model do, with some zeros. */
function activations(width: number, tokens: number): Float32Array {
  const random = new Random(seed + width);
  const factors = 6;
  const loadings = random.normals(factors * width);
  const sizes = random.normals(width).map((value) => Math.exp(value));
  const x = new Float32Array(tokens * width);
  for (let token = 0; token < tokens; token++) {
    const causes = random.normals(factors);
    const noise = random.normals(width);
    for (let channel = 0; channel < width; channel++) {
      let sum = 0.3 * noise[channel]!;
      for (let f = 0; f < factors; f++) sum += causes[f]! * loadings[f * width + channel]!;
      x[token * width + channel] = (token + channel) % 13 === 0 ? 0 : sum * sizes[channel]!;
    }
  }
  return x;
}

/** Statistics of activations that come in three batches. */
function gathered(create: CreateCollector, x: Float32Array, width: number, tokens: number): PartStatistics {
  const collector = create(width, tokens);
  const cuts = [0, Math.floor(tokens / 3), Math.floor(tokens / 2), tokens];
  for (const [index, end] of cuts.slice(1).entries()) {
    collector.add(x.slice(cuts[index]! * width, end * width), end - cuts[index]!);
  }
  return collector.statistics();
}

function both(create: CreateCollector, x: Float32Array, width: number, tokens: number) {
  return [gathered(create, x, width, tokens), gathered(collectHere, x, width, tokens)] as const;
}

function errorOf(values: Float32Array, tensor: QuantizedTensor, gram: CalibrationGram): number {
  return roundingErrors(values, dequantize(tensor), tensor.rows, tensor.cols, gram.read()).reduce((a, b) => a + b, 0);
}

function sameValues(what: string, tensor: QuantizedTensor, restored: Float32Array | undefined): readonly string[] {
  return restored === undefined ? [] : same(what, restored, dequantize(tensor));
}

/** To the bit, but for the sign of zero. */
function same(what: string, found: Float32Array, expected: Float32Array): readonly string[] {
  if (found.length !== expected.length) return [`${what}: ${found.length} numbers, not ${expected.length}`];
  const wrong = found.findIndex((value, i) => value !== expected[i]);
  return wrong === -1 ? [] : [`${what}: ${found[wrong]} and not ${expected[wrong]} at ${wrong}`];
}

/** Within a tolerance relative to the largest number. */
function close(what: string, found: Float64Array, expected: Float64Array, tolerance: number): readonly string[] {
  if (found.length !== expected.length) return [`${what}: ${found.length} numbers, not ${expected.length}`];
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const wrong = found.findIndex((value, i) => !(Math.abs(value - expected[i]!) <= tolerance * largest));
  return wrong === -1
    ? []
    : [`${what}: ${found[wrong]} and not ${expected[wrong]} at ${wrong}, the largest being ${largest}`];
}

function near(what: string, found: number, expected: number, tolerance: number): readonly string[] {
  return Math.abs(found - expected) <= tolerance * Math.abs(expected) ? [] : [`${what} is ${found}, not ${expected}`];
}

/** At most a tenth of a percent above. */
function notWorse(what: string, found: number, expected: number): readonly string[] {
  return found <= expected * (1 + methodTolerance) ? [] : [`${what} is ${found}, above ${expected}`];
}

function refused(call: () => unknown, sentence: string): readonly string[] {
  try {
    call();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return message.includes(sentence) ? [] : [`refused with "${message}"`];
  }
  return ["not refused"];
}
