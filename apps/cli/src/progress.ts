import type { LoadProgress } from "@kvant/engine";
import { Presets, SingleBar } from "cli-progress";

export interface Progress {
  readonly update: (done: number, total: number) => void;
  readonly stop: () => void;
}

const silent: Progress = { update: () => undefined, stop: () => undefined };

/** A bar with the time left on standard error; silent where that is not a terminal. */
export function progressBar(label: string): Progress {
  return process.stderr.isTTY ? terminalBar(label, () => "") : silent;
}

/** The same for weights that load, with their bytes. `onProgress` is what an engine calls. */
export function loadingBar(): { readonly onProgress: (progress: LoadProgress) => void; readonly stop: () => void } {
  const { update, stop } = process.stderr.isTTY ? terminalBar("loading", gigabytes) : silent;
  return { onProgress: ({ loadedBytes, totalBytes }) => update(loadedBytes, totalBytes), stop };
}

function terminalBar(label: string, amount: (done: number, total: number) => string): Progress {
  const format = `${label} [{bar}] {percentage} %{amount} | {eta_formatted} left`;
  const bar = new SingleBar(
    { format, stream: process.stderr, clearOnComplete: true, hideCursor: true },
    Presets.shades_grey,
  );
  let isStarted = false;
  return {
    update: (done, total) => {
      const payload = { amount: amount(done, total) };
      if (!isStarted) bar.start(total, 0, payload);
      isStarted = true;
      bar.update(done, payload);
    },
    stop: () => bar.stop(),
  };
}

function gigabytes(done: number, total: number): string {
  return ` | ${(done / 1e9).toFixed(2)} of ${(total / 1e9).toFixed(2)} GB`;
}
