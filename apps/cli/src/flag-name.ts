/** An option's name as commander derives it, as it is typed: `contextLength`, `context-length`. */
export function flagName(option: string): string {
  return option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
