/**
 * Finds stop strings in a text that arrives in pieces. Text that may be the beginning of a stop string is held back until
 * it is decided, so that no part of a stop string is ever handed out.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop.length > 0);
  }

  /** Whether there is nothing to look for, so that nothing is ever held back. */
  get isEmpty(): boolean {
    return this.#stops.length === 0;
  }

  /** @returns the text that is safe to hand out, and the stop string that ended it, the earliest one. */
  push(text: string): { readonly text: string; readonly stop: string | undefined } {
    if (this.#stops.length === 0) return { text, stop: undefined };
    const pending = this.#held + text;
    let end = -1;
    let found: string | undefined;
    for (const stop of this.#stops) {
      const at = pending.indexOf(stop);
      if (at !== -1 && (end === -1 || at < end)) {
        end = at;
        found = stop;
      }
    }
    if (found !== undefined) {
      this.#held = "";
      return { text: pending.slice(0, end), stop: found };
    }
    const heldLength = this.#heldLength(pending);
    this.#held = pending.slice(pending.length - heldLength);
    return { text: pending.slice(0, pending.length - heldLength), stop: undefined };
  }

  /** What was held back, at the end of the text. */
  finish(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }

  /** The longest tail of the text that begins a stop string. */
  #heldLength(text: string): number {
    let held = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > held; length--) {
        if (text.endsWith(stop.slice(0, length))) {
          held = length;
          break;
        }
      }
    }
    return held;
  }
}
