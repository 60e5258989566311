import { constants } from "node:os";

export type EndingSignal = (typeof endingSignals)[number];

/** Ctrl-C, a supervisor's polite end, and a terminal that closes. */
const endingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Hears every signal that would end the program, as long as `forget` is not called. Without it Node dies of them on the spot, and
 * what runs on `exit`, such as ending a server that was started, does not happen.
 */
export function onEndingSignal(hear: (signal: EndingSignal) => void): { readonly forget: () => void } {
  for (const signal of endingSignals) process.on(signal, hear);
  return {
    forget: () => {
      for (const signal of endingSignals) process.off(signal, hear);
    },
  };
}

/** What a shell reports for a program that the signal ended. */
export function exitCodeOf(signal: EndingSignal): number {
  return 128 + constants.signals[signal];
}
