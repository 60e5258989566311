import type { QualityRow } from "./measure-quality.ts";

/** Something that theory or the papers promise, and whether these rows keep it. */
export interface QualityClaim {
  readonly claim: string;
  readonly holds: boolean;
  /** The measured figures, in words. */
  readonly measured: string;
}

type Measured = Pick<QualityRow, "scheme" | "perplexity" | "klVsReference">;
type Rows = ReadonlyMap<string, Measured>;

/**
 * What must hold among the rows that are there; a claim whose rows are not all there is left out. Losses in numbers are perplexity
 * above that of BF16, and a method recovers the share of round to nearest's loss that it does not have.
 */
export function qualityClaims(rows: readonly Measured[]): readonly QualityClaim[] {
  const byScheme: Rows = new Map(rows.map((row) => [row.scheme, row]));
  return [
    ...["int8", "e4m3", "int4"].map((format) => better(byScheme, `${format}-channel`, `${format}-tensor`)),
    better(byScheme, "int4-g128", "int4-channel"),
    better(byScheme, "int4-g32", "int4-g128"),
    within(byScheme, "int8-channel", 0.005),
    within(byScheme, "int8-channel+int8", 0.01),
    recovers(byScheme, "int4-g128", "gptq", 0.3),
    recovers(byScheme, "int3-g128", "gptq", 0.3),
    recovers(byScheme, "int4-g128", "awq", 0),
    recovers(byScheme, "int3-g128", "awq", 0.15),
  ].filter((claim) => claim !== undefined);
}

/** The same on a model with planted activation outliers. */
export function outlierClaims(rows: readonly Measured[]): readonly QualityClaim[] {
  const byScheme: Rows = new Map(rows.map((row) => [row.scheme, row]));
  return [
    outweighs(byScheme, "int8-channel+int8", "int8-channel+int8/smoothquant", 10),
    within(byScheme, "int8-channel+int8/smoothquant", 0.01),
    recovers(byScheme, "int4-g128", "awq", 0.5),
  ].filter((claim) => claim !== undefined);
}

/** By the divergence from BF16: where both lose next to nothing, the sign of a difference in perplexity is the text's. */
function better(rows: Rows, fine: string, coarse: string): QualityClaim | undefined {
  const [a, b] = [rows.get(fine), rows.get(coarse)];
  if (a === undefined || b === undefined) return undefined;
  const [near, far] = [a.klVsReference!, b.klVsReference!];
  const perplexities = `${a.perplexity.toFixed(3)} and ${b.perplexity.toFixed(3)}`;
  return {
    claim: `${fine} loses less than ${coarse}`,
    holds: near < far,
    measured: `KL ${near.toPrecision(3)} and ${far.toPrecision(3)}, perplexity ${perplexities}`,
  };
}

function within(rows: Rows, scheme: string, share: number): QualityClaim | undefined {
  const [row, bf16] = [rows.get(scheme), rows.get("bf16")];
  if (row === undefined || bf16 === undefined) return undefined;
  const change = row.perplexity / bf16.perplexity - 1;
  return {
    claim: `${scheme} is within ${100 * share} % of BF16`,
    holds: change <= share,
    measured: `${change < 0 ? "" : "+"}${(100 * change).toFixed(3)} %`,
  };
}

function recovers(rows: Rows, format: string, method: string, least: number): QualityClaim | undefined {
  const [bf16, nearest, row] = [rows.get("bf16"), rows.get(format), rows.get(`${format}/${method}`)];
  if (bf16 === undefined || nearest === undefined || row === undefined) return undefined;
  const share = (nearest.perplexity - row.perplexity) / (nearest.perplexity - bf16.perplexity);
  const claim =
    least === 0
      ? `${method} at ${format} is not worse than round to nearest`
      : `${method} at ${format} recovers at least ${100 * least} % of what round to nearest loses`;
  return { claim, holds: share >= least, measured: `${(100 * share).toFixed(1)} % recovered` };
}

function outweighs(rows: Rows, naive: string, careful: string, least: number): QualityClaim | undefined {
  const [bf16, worse, better] = [rows.get("bf16"), rows.get(naive), rows.get(careful)];
  if (bf16 === undefined || worse === undefined || better === undefined) return undefined;
  const [lost, kept] = [worse.perplexity - bf16.perplexity, better.perplexity - bf16.perplexity];
  return {
    claim: `${naive} loses at least ${least} times what ${careful} loses`,
    holds: lost >= least * Math.max(kept, 0) && lost > 0,
    measured: `perplexity ${lost < 0 ? "" : "+"}${lost.toFixed(3)} and ${kept < 0 ? "" : "+"}${kept.toFixed(3)} above BF16`,
  };
}
