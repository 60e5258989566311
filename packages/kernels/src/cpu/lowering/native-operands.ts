import type { NativeOp } from "../native-addon.ts";

/** The buffer fields of each native op; `writes` are written, `reads` read, `updates` both. */
const operands = {
  embed: { reads: [], updates: [], writes: ["out"] },
  rmsNorm: { reads: ["residual"], updates: ["x"], writes: ["out"] },
  linear: { reads: ["x"], updates: [], writes: ["out"] },
  add: { reads: ["x", "y"], updates: [], writes: ["out"] },
  rope: { reads: ["x"], updates: [], writes: ["out"] },
  kvWrite: { reads: ["k", "v"], updates: [], writes: [] },
  qkvStore: { reads: ["qkv"], updates: [], writes: ["out"] },
  attention: { reads: ["q"], updates: [], writes: ["out"] },
  siluMul: { reads: ["gate", "up"], updates: [], writes: ["out"] },
  geluMul: { reads: ["gate", "up"], updates: [], writes: ["out"] },
  gatherRows: { reads: ["x"], updates: [], writes: ["out"] },
} as const satisfies Record<NativeOp["op"], Record<"reads" | "updates" | "writes", readonly string[]>>;

/** Buffers that a native op needs to hold values before it runs; -1 (absent) is left out. */
export function nativeReads(op: NativeOp): readonly number[] {
  const { reads, updates } = operands[op.op];
  return [...reads, ...updates].map((field) => fieldOf(op, field)).filter((index) => index >= 0);
}

/** The buffer that a native op brings into being. */
export function nativeWrite(op: NativeOp): number | undefined {
  const [field] = operands[op.op].writes;
  return field === undefined ? undefined : fieldOf(op, field);
}

/** The op with every buffer index replaced. */
export function mapBuffers(op: NativeOp, map: (index: number) => number): NativeOp {
  const { reads, updates, writes } = operands[op.op];
  const replaced: Record<string, number | string> = { ...op };
  for (const field of [...reads, ...updates, ...writes]) {
    const index = fieldOf(op, field);
    if (index >= 0) replaced[field] = map(index);
  }
  return replaced as NativeOp;
}

function fieldOf(op: NativeOp, field: string): number {
  return (op as Readonly<Record<string, number | string>>)[field] as number;
}
