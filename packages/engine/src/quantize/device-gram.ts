import type { DeviceCalibration } from "@kvant/kernels";
import { type CalibrationGram, chooseAwqScales, clipCandidates, requireFinite } from "@kvant/quantizers";

/** GPTQ's default in `@kvant/quantizers`. */
const defaultDamping = 0.01;

/** A Gram matrix on a device, and the methods computed there. It has the device's memory until it is released. */
export function deviceGram(calibration: DeviceCalibration): CalibrationGram {
  const { width } = calibration;
  return {
    width,
    read: () => calibration.readGram(),
    divide: (scales) => deviceGram(calibration.divide(scales)),
    quantizeGptq: (values, rows, weightFormat, { damping = defaultDamping, actOrder = false }) => {
      const result = calibration.quantizeGptq(values, rows, weightFormat, { damping, actOrder });
      const { tensor, restored, nearestErrors, ownErrors, answer } = result;
      return {
        tensor,
        restored,
        damping: answer.damping,
        deadColumnCount: answer.deadColumns,
        outputErrorBefore: finiteTotal(nearestErrors, values),
        outputErrorAfter: total(ownErrors),
        keptRoundToNearestRows: answer.keptRows,
      };
    },
    searchAwqScales: (request) =>
      chooseAwqScales(
        { ...request, cols: width },
        ({ values, rows, weightFormat = request.weightFormat }, candidates) => {
          const losses = calibration.awqLosses(values, rows, weightFormat, candidates);
          finiteTotal(losses, values);
          return losses;
        },
      ),
    searchAwqClip: (request) => {
      const { values, rows, weightFormat } = request;
      const shrinks = Float32Array.of(1, ...clipCandidates(request));
      const result = calibration.searchAwqClip(values, rows, weightFormat, shrinks);
      const { tensor, restored, nearestErrors, ownErrors, answer } = result;
      return {
        tensor,
        restored,
        shrinks: answer.shrinks,
        lossBefore: finiteTotal(nearestErrors, values),
        lossAfter: total(ownErrors),
      };
    },
    outputError: (values, rounded, rows) => total(calibration.outputErrors(values, rounded, rows)),
    release: () => calibration.close(),
  };
}

/** Weights are only searched for what is wrong with them when an error of theirs says that something is. */
function finiteTotal(errors: Float64Array, weights: Float32Array): number {
  const sum = total(errors);
  if (!Number.isFinite(sum)) requireFinite(weights, "weight");
  return sum;
}

function total(errors: Float64Array): number {
  return errors.reduce((sum, error) => sum + error, 0);
}
