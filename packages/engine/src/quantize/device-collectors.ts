import { KvantError } from "@kvant/core";
import type { BufferId, CalibrationPresence, DeviceCalibration, Executable } from "@kvant/kernels";
import {
  type ActivationCollector,
  type MagnitudeCollector,
  MagnitudeCounts,
  type PartStatistics,
  type StatisticsCollector,
  sampleStride,
} from "@kvant/quantizers";
import { deviceGram } from "./device-gram.ts";

/** Gathers activations on the device whose executable has made them. */
export class DeviceCollector implements ActivationCollector {
  protected readonly calibration: DeviceCalibration;

  constructor(calibration: DeviceCalibration) {
    this.calibration = calibration;
  }

  add(activations: Float32Array, tokens: number): void {
    this.calibration.add(activations, tokens);
  }

  /** Takes the first `tokens` rows of a buffer in without bringing them here. */
  gather(executable: Executable, buffer: BufferId, tokens: number): void {
    executable.gather!(buffer, tokens, this.calibration);
  }
}

/** `PartCollector` on a device. */
export class DeviceStatisticsCollector extends DeviceCollector implements StatisticsCollector {
  /** @throws KvantError BACKEND_UNAVAILABLE, OUT_OF_MEMORY */
  constructor({ create }: CalibrationPresence, width: number, tokenCount: number) {
    const stride = sampleStride(tokenCount);
    super(create({ width, gram: true, sampleStride: stride, sampleCapacity: Math.ceil(tokenCount / stride) }));
  }

  /** @throws KvantError INVALID_ARGUMENT if a sum of squares is not finite, as after NaN */
  statistics(): PartStatistics {
    const { tokens, squares, bins, zeroCount, ...figures } = this.calibration.figures();
    const wrong = squares.findIndex((square) => !(square < Infinity));
    if (wrong !== -1) {
      throw new KvantError(
        "INVALID_ARGUMENT",
        `the squares of activations in channel ${wrong} add up to ${squares[wrong]}`,
      );
    }
    const magnitudes = new MagnitudeCounts();
    magnitudes.addCounts(bins, zeroCount);
    const { width } = this.calibration;
    return { ...figures, width, tokenCount: tokens, gram: deviceGram(this.calibration), magnitudes };
  }
}

/** `MagnitudeCounts` on a device. */
export class DeviceMagnitudeCollector extends DeviceCollector implements MagnitudeCollector {
  /** @throws KvantError OUT_OF_MEMORY */
  constructor({ create }: CalibrationPresence, width: number) {
    super(create({ width, gram: false, sampleStride: 1, sampleCapacity: 0 }));
  }

  histogram() {
    const { bins, zeroCount } = this.calibration.figures();
    this.calibration.close();
    const counts = new MagnitudeCounts();
    counts.addCounts(bins, zeroCount);
    return counts.histogram();
  }
}
