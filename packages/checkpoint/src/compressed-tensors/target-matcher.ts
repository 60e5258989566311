import { KvantError } from "@kvant/core";

/** What a target or an entry of an ignore list says about a module: its name, its class, or a pattern for its name. */
export interface TargetMatcher<T> {
  /** The value of the target that matches best, or `undefined`. */
  find(module: string, moduleClass: string): T | undefined;
}

/**
 * Matches as compressed-tensors does (`match_targets` in src/compressed_tensors/utils/match.py): a module's own name goes
 * before patterns, patterns (`re:`, anchored at the start, in alphabetical order) before class names such as `Linear`.
 * @throws KvantError QUANTIZATION_UNSUPPORTED for a pattern that JavaScript cannot read; `source` names the file
 */
export function targetMatcher<T>(source: string, targets: ReadonlyMap<string, T>): TargetMatcher<T> {
  const patterns = [...targets]
    .filter(([target]) => target.startsWith("re:"))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([target, value]) => ({ pattern: patternOf(source, target), value }));
  return {
    find(module, moduleClass) {
      if (targets.has(module)) return targets.get(module);
      const matched = patterns.find(({ pattern }) => pattern.test(module));
      return matched === undefined ? targets.get(moduleClass) : matched.value;
    },
  };
}

function patternOf(source: string, target: string): RegExp {
  const text = target.slice("re:".length);
  try {
    return new RegExp(`^(?:${text})`, "u");
  } catch {
    // Python allows escapes, as of - or /, that the u flag forbids.
  }
  try {
    return new RegExp(`^(?:${text})`);
  } catch (cause) {
    throw new KvantError(
      "QUANTIZATION_UNSUPPORTED",
      `${source}: the target ${JSON.stringify(target)} is a pattern that is not read (${cause instanceof Error ? cause.message : cause})`,
      { cause },
    );
  }
}
