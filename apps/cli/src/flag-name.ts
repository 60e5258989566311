/** Flags that say what is written, and not what is measured: repeating it does not need them. */
const outputFlags: readonly string[] = ["name", "output", "html", "markdown", "json"];

/** Options that were given or have defaults and decide what is measured, by commander's names. */
export function measuringFlags(flags: object): readonly (readonly [name: string, value: unknown])[] {
  return Object.entries(flags).filter(([name, value]) => value !== undefined && !outputFlags.includes(name));
}

/** An option's name as commander derives it, as it is typed: `contextLength`, `context-length`. */
export function flagName(option: string): string {
  return option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
