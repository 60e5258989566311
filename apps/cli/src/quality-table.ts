import { milliseconds, type QualityClaim, type QualityRow } from "@kvant/bench";
import { megabytes, table } from "./print.ts";

/** Change of perplexity against BF16 with its paired 95 % interval, in percent. */
function change({ nllDifference }: QualityRow): readonly [string, string] {
  const { mean, low, high } = nllDifference!;
  const percent = (nats: number) => `${nats < 0 ? "" : "+"}${(100 * Math.expm1(nats)).toFixed(2)}`;
  return [percent(mean), low === null || high === null ? "-" : `${percent(low)} to ${percent(high)}`];
}

/** One line per scheme: what it keeps, and what it costs where that was measured. */
export function qualityRowsTable(rows: readonly QualityRow[]): string {
  const hasCost = rows.some(({ cost }) => cost !== null);
  const header = ["scheme", "bits/w", "held", "perplexity", "change %", "95 % interval", "KL", "top-1 %"];
  const cells = rows.map((row) => [
    row.scheme,
    row.bitsPerWeight.toFixed(2),
    megabytes(row.weightBytes),
    row.perplexity.toFixed(3),
    ...change(row),
    row.klVsReference!.toFixed(5),
    row.top1Agreement!.toFixed(2),
    ...(hasCost ? costCells(row) : []),
  ]);
  return table(
    [...header, ...(hasCost ? ["prefill tok/s", "decode tok/s", "cold ms", "warm ms", "peak RSS"] : [])],
    cells,
  );
}

function costCells({ cost }: QualityRow): readonly string[] {
  if (cost === null) return ["-", "-", "-", "-", "-"];
  return [
    cost.prefillTokensPerSecond.toFixed(0),
    cost.decodeTokensPerSecond.toFixed(0),
    milliseconds(cost.coldFirstTokenSeconds),
    milliseconds(cost.warmFirstTokenSeconds),
    megabytes(cost.peakResidentBytes),
  ];
}

/** One line per claim. */
export function claimLines(claims: readonly QualityClaim[]): string {
  return claims.map(({ claim, holds, measured }) => `${holds ? "yes" : "NO "}  ${claim}: ${measured}`).join("\n");
}
