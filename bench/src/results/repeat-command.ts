import type { LoadResult } from "../load/load-result.ts";

/** What stands for the flags after `--`, which go to the server that the load started itself. */
export const serveArguments = "serve arguments";

/** The command line that repeats a load, quoted for a POSIX shell. */
export function repeatCommand({ flags }: Pick<LoadResult, "flags">): string {
  const { [serveArguments]: handedOn, ...own } = flags;
  const rest = typeof handedOn === "object" && handedOn.length > 0 ? ["--", ...handedOn] : [];
  return commandLine(["kvant", "bench", "serve", ...flagWords(own), ...rest]);
}

/** Flags as words of a command line; one that is false is left out. */
export function flagWords(flags: LoadResult["flags"]): readonly string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    if (value === false) return [];
    if (value === true) return [`--${name}`];
    const values = typeof value === "object" ? value : [String(value)];
    return values.flatMap((one) => [`--${name}`, one]);
  });
}

/** Words quoted for a POSIX shell. */
export function commandLine(words: readonly string[]): string {
  return words.map(quoted).join(" ");
}

function quoted(word: string): string {
  return /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
