import { type Executable, loadsByRows, type PlanWeight } from "@kvant/kernels";

/** Bytes of a tensor in memory at a time while it loads: embedding tables alone have hundreds of megabytes. */
const chunkBytes = 8 * 2 ** 20;
// Backends pack rows in blocks of 16; whole blocks are packed once.
const chunkRowMultiple = 16;

/**
 * Cuts tensor `[rows, cols]`, which one or more weights are loaded from, into chunks of a few megabytes: first row and number
 * of rows. There is one chunk where a backend takes whole tensors only, or where a weight has a scale for the whole tensor.
 */
export function rowChunks(
  weights: readonly PlanWeight[],
  valueBytes: number,
  executable: Pick<Executable, "loadWeightRows">,
): readonly { readonly firstRow: number; readonly rows: number }[] {
  const { rows, cols } = weights[0]!;
  if (executable.loadWeightRows === undefined || !weights.every(loadsByRows)) return [{ firstRow: 0, rows }];
  const fitting = Math.floor(chunkBytes / (cols * valueBytes * chunkRowMultiple)) * chunkRowMultiple;
  const step = Math.max(fitting, chunkRowMultiple);
  return Array.from({ length: Math.ceil(rows / step) }, (_, index) => ({
    firstRow: index * step,
    rows: Math.min(step, rows - index * step),
  }));
}
