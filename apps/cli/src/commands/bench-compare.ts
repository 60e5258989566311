import { basename } from "node:path";
import {
  compareLoads,
  comparisonMarkdown,
  comparisonNotes,
  comparisonTable,
  type LoadComparison,
  readLoadResult,
  replaceTextFile,
  textTable,
} from "@kvant/bench";
import { requireWritable, writeAsked } from "../output-files.ts";
import { printRow, table } from "../print.ts";

export interface BenchCompareFlags {
  readonly metric?: readonly string[];
  readonly threshold: number;
  readonly seed: number;
  readonly markdown?: string;
  readonly json?: boolean;
}

/** What ends a comparison that found something worse: no error, and not to be taken for one. */
export const worseExitCode = 3;

/** What ends one in which nothing is worse, but a measure that was asked for has no verdict at any level: no pass. */
export const unansweredExitCode = 4;

/** Sets two results of `kvant bench serve` side by side, for people and for CI. */
export async function benchCompare(before: string, after: string, flags: BenchCompareFlags): Promise<void> {
  const { metric, threshold, seed, markdown, json } = flags;
  requireWritable([markdown]);
  const comparison = compareLoads(readLoadResult(before), readLoadResult(after), {
    ...(metric === undefined ? {} : { measures: metric }),
    threshold,
    seed,
  });
  if (json) for (const row of rows(comparison)) printRow(row);
  else {
    const [header, ...cells] = textTable(comparisonTable(comparison));
    process.stdout.write(`${table(header!, cells)}\n${comparisonNotes(comparison).join("\n")}\n`);
  }
  writeAsked(markdown, (path) =>
    replaceTextFile(path, comparisonMarkdown(comparison, basename(before), basename(after))),
  );
  if (comparison.isWorse) process.exitCode = worseExitCode;
  else if (comparison.unanswered.length > 0) process.exitCode = unansweredExitCode;
}

function rows({ levels, threshold }: LoadComparison): readonly object[] {
  return levels.flatMap(({ level, measures }) => measures.map((measure) => ({ level, threshold, ...measure })));
}
