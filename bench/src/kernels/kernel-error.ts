import { type Backend, createReferenceBackend } from "@kvant/kernels";
import type { KernelCase } from "./kernel-case.ts";
import { KernelRun } from "./kernel-run.ts";

export interface KernelError {
  readonly maxAbsoluteError: number;
  /** The same over the largest magnitude of the reference's result. */
  readonly relativeError: number;
}

/** Tokens that the reference, which is slow on purpose, computes; later tokens do not change earlier ones. */
const referenceTokens = 4;

/** How far a backend's result is from the reference's: over the first tokens, and for `kvWrite` over a page's bytes. */
export async function kernelError(each: KernelCase, backend: Backend): Promise<KernelError> {
  const plan = each.recordSlice();
  const one = { count: 1, start: each.context - each.tokens, sample: false };
  const rows = Math.min(each.tokens, referenceTokens);
  const actual = await resultOf(KernelRun.open(backend, plan, { ...one, tokens: each.tokens }), rows);
  // A page is compared whole, so the reference stores as many tokens as the backend.
  const tokens = each.op === "kvWrite" ? each.tokens : rows;
  const expected = await resultOf(KernelRun.open(createReferenceBackend(), plan, { ...one, tokens }), rows);
  let [difference, magnitude] = [0, 0];
  expected.forEach((value, i) => {
    const distance = Math.abs(actual[i]! - value);
    difference = Math.max(difference, Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance);
    magnitude = Math.max(magnitude, Math.abs(value));
  });
  return { maxAbsoluteError: difference, relativeError: difference === 0 ? 0 : difference / magnitude };
}

async function resultOf(opening: Promise<KernelRun>, rows: number): Promise<Float32Array | Uint8Array> {
  const run = await opening;
  try {
    await run.step();
    return run.result(rows);
  } finally {
    await run.close();
  }
}
