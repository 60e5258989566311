import { setMaxListeners } from "node:events";
import { type EndingSignal, exitCodeOf, onEndingSignal } from "./ending-signals.ts";
import { say } from "./print.ts";

export interface LoadEnding {
  /** Aborts at the first ending signal. */
  readonly interrupt: AbortSignal;
  /** Aborts then too, and so many seconds from now. */
  readonly within: (seconds: number) => AbortSignal;
  readonly interruptedBy: () => EndingSignal | undefined;
  readonly forget: () => void;
}

/**
 * The first Ctrl-C (or SIGTERM, or SIGHUP) ends the load with a report, the second one the program, and with it the server that
 * it started; so does, without it, a time limit. The start of a server and the load have the limit each for itself: a model that
 * takes minutes to load should not take them off the load.
 */
export function loadEnding(): LoadEnding {
  const interrupt = new AbortController();
  let interruptedBy: EndingSignal | undefined;
  const signals = onEndingSignal((signal) => {
    if (interruptedBy !== undefined) process.exit(exitCodeOf(signal));
    interruptedBy = signal;
    say("kvant: ending the load; once more to leave without a report");
    interrupt.abort();
  });
  return {
    interrupt: interrupt.signal,
    within(seconds) {
      const signal = AbortSignal.any([interrupt.signal, AbortSignal.timeout(seconds * 1000)]);
      // Levels, workers and the server all listen.
      setMaxListeners(0, signal);
      return signal;
    },
    interruptedBy: () => interruptedBy,
    forget: signals.forget,
  };
}
