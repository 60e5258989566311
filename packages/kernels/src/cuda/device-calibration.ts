import { KvantError } from "@kvant/core";
import {
  codeRowBytes,
  formats,
  type QuantizedTensor,
  scaleCount,
  type WeightFormat,
  weightFormatName,
} from "@kvant/formats";
import type { NativeAddon, NativeCalibration, NativeCodedMatrix, NativeGridMatrix } from "../cpu/native-addon.ts";
import { callNative } from "../cpu/native-error.ts";
import { nativeGroupSize } from "../cpu/quantize-math.ts";

export interface CalibrationOptions {
  /** Channels of the activations. */
  readonly width: number;
  /** The Gram matrix, and with it everything that is computed here; else magnitudes alone. */
  readonly gram: boolean;
  /** Of every so many tokens one is kept whole, the first one first, `sampleCapacity` at most. */
  readonly sampleStride: number;
  readonly sampleCapacity: number;
}

/** What was gathered of activations. */
export interface ActivationFigures {
  readonly tokens: number;
  readonly meanMagnitude: Float32Array; // [width]
  readonly maxMagnitude: Float32Array; // [width]
  /** `[width]` sums of squares; empty without a Gram matrix. */
  readonly squares: Float64Array;
  /** `[100]` counts of magnitudes by half octaves from 2^-30 to 2^20; what lies beyond counts in the first or last. */
  readonly bins: Float64Array;
  /** Values that are exactly 0. */
  readonly zeroCount: number;
  /** `[sampleCount, width]` */
  readonly sample: Float32Array;
  readonly sampleCount: number;
}

/** A quantized matrix with its values, and per row `E G E^T` of its error E and of that of round to nearest. */
export interface DeviceQuantized {
  readonly tensor: QuantizedTensor;
  readonly restored: Float32Array; // [rows, width]
  readonly nearestErrors: Float64Array; // [rows]
  readonly ownErrors: Float64Array; // [rows]
}

/**
 * Statistics of activations on a CUDA device, and the methods of `@kvant/quantizers` through their Gram matrix there: float64 as
 * theirs, with sums in another order. What a method is given must be finite; sizes are checked here.
 */
export class DeviceCalibration {
  readonly width: number;
  readonly native: NativeCalibration;
  #tokens = 0;

  /** @throws KvantError BACKEND_UNAVAILABLE, OUT_OF_MEMORY */
  static create(addon: NativeAddon, device: string, options: CalibrationOptions): DeviceCalibration {
    const { width, gram, sampleStride, sampleCapacity } = options;
    const native = callNative(() =>
      addon.createCalibration({ device, width, gram: gram ? 1 : 0, sampleStride, sampleCapacity }),
    );
    return new DeviceCalibration(native, width);
  }

  private constructor(native: NativeCalibration, width: number) {
    this.native = native;
    this.width = width;
  }

  /** Takes `[tokens, width]` in from this process; `Executable.gather` takes them from the device. */
  add(activations: Float32Array, tokens: number): void {
    callNative(() => this.native.add(activations, tokens));
    this.#tokens += tokens;
  }

  /** Counts tokens that the device has gathered by itself. */
  counted(tokens: number): void {
    this.#tokens += tokens;
  }

  figures(): ActivationFigures {
    const { sums, largest, squares, bins, zeros, sample } = callNative(() => this.native.figures());
    const tokens = this.#tokens;
    return {
      tokens,
      meanMagnitude: Float32Array.from(sums, (sum) => (tokens === 0 ? 0 : sum / tokens)),
      maxMagnitude: largest,
      squares,
      bins,
      zeroCount: zeros,
      sample,
      sampleCount: sample.length / this.width,
    };
  }

  /** `[width, width]` X^T X */
  readGram(): Float64Array {
    const gram = new Float64Array(this.width * this.width);
    callNative(() => this.native.readGram(gram));
    return gram;
  }

  /** The Gram matrix alone, of activations whose channels are divided by `scales` [width]. */
  divide(scales: Float32Array): DeviceCalibration {
    return new DeviceCalibration(
      callNative(() => this.native.divide(scales)),
      this.width,
    );
  }

  /**
   * GPTQ with AbsMax scales, 128 columns at a time.
   * @throws KvantError OP_UNSUPPORTED for scales that lie neither per tensor nor along rows, INVALID_ARGUMENT as `quantizeGptq`
   */
  quantizeGptq(
    values: Float32Array, // [rows, width]
    rows: number,
    weightFormat: WeightFormat,
    options: { readonly damping: number; readonly actOrder: boolean },
  ) {
    const { damping, actOrder } = options;
    const request = { damping, actOrder: actOrder ? 1 : 0, staticScales: actOrder ? 1 : 0 };
    return this.#quantize(values, rows, weightFormat, (matrix, to) => this.native.quantizeGptq(matrix, request, to));
  }

  /**
   * AWQ's clipping search.
   * @param shrinks the parts of a range that are compared, the first being 1
   * @throws KvantError as `quantizeGptq`
   */
  searchAwqClip(values: Float32Array, rows: number, weightFormat: WeightFormat, shrinks: Float32Array) {
    return this.#quantize(values, rows, weightFormat, (matrix, to) => this.native.awqClip(matrix, shrinks, to));
  }

  /** What each of `candidates` [width] of column scales costs a matrix: `tr(E G E^T)` of round to nearest under it. */
  awqLosses(
    values: Float32Array, // [rows, width]
    rows: number,
    weightFormat: WeightFormat,
    candidates: readonly Float32Array[],
  ): Float64Array {
    const joined = new Float32Array(candidates.length * this.width);
    for (const [index, scales] of candidates.entries()) joined.set(scales, index * this.width);
    return callNative(() => this.native.awqLosses(gridMatrix(values, rows, weightFormat), joined));
  }

  /** Per row `E G E^T`, E being `values` less `rounded`, both [rows, width]; undefined: less 0. */
  outputErrors(values: Float32Array, rounded: Float32Array | undefined, rows: number): Float64Array {
    return callNative(() => this.native.outputErrors(values, rounded, rows));
  }

  /** Gives the device its memory back; later calls throw. */
  close(): void {
    this.native.close();
  }

  #quantize<
    Answer extends { readonly nearest: Float64Array; readonly own: Float64Array; readonly tensorScale: number },
  >(
    values: Float32Array,
    rows: number,
    weightFormat: WeightFormat,
    run: (matrix: NativeGridMatrix, to: NativeCodedMatrix) => Answer,
  ): DeviceQuantized & { readonly answer: Answer } {
    const cols = this.width;
    const matrix = gridMatrix(values, rows, weightFormat);
    const count = scaleCount(weightFormat.granularity!, [rows, cols]);
    const codes = new Uint8Array(rows * codeRowBytes(formats[weightFormat.format], cols));
    const to = {
      codes,
      scales: new Float32Array(count),
      zeros: new Int8Array(count),
      restored: new Float32Array(rows * cols),
    };
    const answer = callNative(() => run(matrix, to));
    const zeroPoints = weightFormat.affine ? to.zeros : undefined;
    const tensor: QuantizedTensor = {
      ...{ weightFormat, rows, cols, codes, scales: to.scales, zeroPoints },
      ...(weightFormat.scaleFormat === "e4m3" ? { tensorScale: answer.tensorScale } : {}),
    };
    return { tensor, restored: to.restored, nearestErrors: answer.nearest, ownErrors: answer.own, answer };
  }
}

function gridMatrix(values: Float32Array, rows: number, weightFormat: WeightFormat): NativeGridMatrix {
  const { format, granularity, affine, scaleFormat = "" } = weightFormat;
  const groupSize = granularity === undefined ? undefined : nativeGroupSize(granularity);
  if (groupSize === undefined) {
    throw new KvantError(
      "OP_UNSUPPORTED",
      `a CUDA device quantizes formats with scales per tensor, row or group, not ${weightFormatName(weightFormat)}`,
    );
  }
  return { values, rows, format, groupSize, affine: affine ? 1 : 0, scaleFormat };
}
