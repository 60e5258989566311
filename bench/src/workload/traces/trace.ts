import { invalidOption } from "../invalid-option.ts";
import type { TraceRow } from "./trace-row.ts";
import { traceFormatName, traceRows } from "./trace-rows.ts";

export interface TraceOptions {
  readonly path: string;
  /** Seconds at the start of the trace that are left out. */
  readonly startOffsetSeconds: number;
  /** At most so many rows. */
  readonly rowLimit?: number;
  /** Rows before so many seconds, counted from the offset, in the trace's own time. */
  readonly secondsLimit?: number;
}

/** A stretch of a trace. The first pass checks every row of it, so that no load fails in its middle. */
export class Trace {
  readonly path: string;
  /** `Azure`, `BurstGPT`, `Mooncake`. */
  readonly format: string;
  readonly rowCount: number;
  /** Rows between them without prompt or answer: requests that failed when they were recorded. */
  readonly failedCount: number;
  /** From the offset to the last row. */
  readonly seconds: number;
  /** Rows follow that `secondsLimit` leaves out: time ends the stretch, and not its last row. */
  readonly isCutByTime: boolean;
  readonly #options: TraceOptions;

  /**
   * @param onRow called for each row of the stretch, once
   * @throws KvantError INVALID_ARGUMENT with file, line and value for what cannot be read, and where no row is left
   */
  constructor(options: TraceOptions, onRow?: (row: TraceRow) => void) {
    const { path, startOffsetSeconds } = options;
    this.#options = options;
    this.path = path;
    this.format = traceFormatName(path);
    let [rowCount, failedCount, seconds, isCutByTime] = [0, 0, 0, false];
    const onFailed = (): void => {
      failedCount++;
    };
    const onCut = (): void => {
      isCutByTime = true;
    };
    for (const row of stretch(options, { onFailed, onCut })) {
      rowCount++;
      seconds = row.seconds;
      onRow?.(row);
    }
    [this.rowCount, this.failedCount, this.seconds] = [rowCount, failedCount, seconds];
    this.isCutByTime = isCutByTime;
    if (rowCount === 0) {
      const sentence = `${path}: no request with prompt and answer follows ${startOffsetSeconds} s after its start`;
      throw invalidOption("datasetFile", `${sentence}${failedCount === 0 ? "" : `, and ${failedCount} without`}`);
    }
  }

  /** Seconds counted from the offset. */
  rows(): Generator<TraceRow, void> {
    return stretch(this.#options);
  }
}

interface StretchNews {
  /** A row without prompt or answer was left out. */
  readonly onFailed?: () => void;
  /** A row came that is too late. */
  readonly onCut?: () => void;
}

function* stretch(options: TraceOptions, { onFailed, onCut }: StretchNews = {}): Generator<TraceRow, void> {
  const { path, startOffsetSeconds, rowLimit = Infinity, secondsLimit = Infinity } = options;
  let count = 0;
  for (const row of traceRows(path)) {
    const seconds = row.seconds - startOffsetSeconds;
    if (seconds < 0) continue;
    if (seconds >= secondsLimit) {
      onCut?.();
      return;
    }
    if (row.promptTokens === 0 || row.outputTokens === 0) {
      onFailed?.();
      continue;
    }
    yield { ...row, seconds };
    if (++count === rowLimit) return;
  }
}
