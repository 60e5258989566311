import { formats, weightBytes } from "@kvant/formats";
import { buffersRead, bufferWritten, weightsRead } from "./op-operands.ts";
import type { KvGroup, Op, OpName, Plan, PlanWeight } from "./plan.ts";

/** A step of equal rows: each brings `tokens` new tokens; `contexts` are the rows' lengths with them. */
export interface StepShape {
  readonly tokens: number;
  readonly contexts: readonly number[];
}

/** What one op moves and computes in a step. Weights and live KV bytes count once; activations are float32. */
export interface OpCost {
  readonly op: OpName;
  /** Name of the written buffer, of the tap, or of the KV layer. */
  readonly name: string;
  readonly weightBytes: number;
  readonly kvBytes: number;
  readonly activationBytes: number;
  /** Multiplications and additions of matrix products and attention; other ops count none. */
  readonly operations: number;
}

export interface PlanCost {
  readonly ops: readonly OpCost[];
  readonly weightBytes: number;
  readonly kvBytes: number;
  readonly activationBytes: number;
  readonly operations: number;
}

/** Bytes and operations per op of a plan, for one step. One token per row gets logits. */
export function planCost(plan: Plan, shape: StepShape): PlanCost {
  const ops = plan.ops.map((op) => opCost(op, plan, shape));
  const sum = (pick: (cost: OpCost) => number) => ops.reduce((total, cost) => total + pick(cost), 0);
  return {
    ops,
    weightBytes: sum((cost) => cost.weightBytes),
    kvBytes: sum((cost) => cost.kvBytes),
    activationBytes: sum((cost) => cost.activationBytes),
    operations: sum((cost) => cost.operations),
  };
}

/** The plan as text, one line per op with its cost. */
export function describePlan(plan: Plan, shape: StepShape): readonly string[] {
  const lines = planCost(plan, shape).ops.map((cost) =>
    [
      cost.op.padEnd(11),
      cost.name.padEnd(28),
      `${cost.weightBytes} weight bytes`.padStart(24),
      `${cost.kvBytes} KV bytes`.padStart(20),
      `${cost.activationBytes} activation bytes`.padStart(28),
      `${cost.operations} operations`.padStart(26),
    ].join(""),
  );
  return lines;
}

function opCost(op: Op, plan: Plan, shape: StepShape): OpCost {
  const rowCount = shape.contexts.length;
  const tokens = rowCount * shape.tokens;
  const out = bufferWritten(op);
  const touched = op.op === "tap" ? [] : [...buffersRead(op), ...(out === undefined ? [] : [out])];
  const activationBytes = touched.reduce((sum, id) => {
    const { width, rows } = plan.buffers[id]!;
    return sum + (rows === "tokens" ? tokens : rowCount) * width * 4;
  }, 0);
  return {
    op: op.op,
    name: opName(op, plan),
    weightBytes: weightsRead(op).reduce((sum, id) => sum + bytesRead(op, plan.weights[id]!, tokens), 0),
    kvBytes: kvBytes(op, plan, shape),
    activationBytes,
    operations: operations(op, plan, shape),
  };
}

function opName(op: Op, plan: Plan): string {
  if (op.op === "tap") return op.name;
  if (op.op === "kvWrite") return `group ${op.group} layer ${op.layer}`;
  return plan.buffers[op.out]!.name;
}

function bytesRead(op: Op, { format, rows, cols }: PlanWeight, tokens: number): number {
  const { codes, scales } = weightBytes(format, op.op === "embed" ? Math.min(tokens, rows) : rows, cols);
  return codes + scales;
}

function kvBytes(op: Op, plan: Plan, { tokens, contexts }: StepShape): number {
  if (op.op !== "kvWrite" && op.op !== "attention") return 0;
  const group = plan.kvGroups[op.group]!;
  const perToken = bytesPerToken(group);
  if (op.op === "kvWrite") return contexts.length * tokens * perToken;
  return contexts.reduce((sum, context) => sum + livePositions(group, context, tokens) * perToken, 0);
}

/** Bytes of K and V of one token in one layer. */
function bytesPerToken({ kvHeads, headDim, format, scales }: KvGroup): number {
  return 2 * kvHeads * ((headDim * formats[format].bits) / 8 + (scales.kind === "token-head" ? 4 : 0));
}

/** Positions that at least one of a row's new tokens sees. */
function livePositions({ window }: KvGroup, context: number, tokens: number): number {
  return window === undefined ? context : Math.min(context, window + tokens - 1);
}

function operations(op: Op, plan: Plan, { tokens, contexts }: StepShape): number {
  if (op.op === "linear") {
    const { rows, cols } = plan.weights[op.weight]!;
    const count = plan.buffers[op.x]!.rows === "tokens" ? contexts.length * tokens : contexts.length;
    return 2 * count * rows * cols;
  }
  if (op.op !== "attention") return 0;
  const { headDim, window } = plan.kvGroups[op.group]!;
  let seen = 0;
  for (const context of contexts) {
    for (let position = context - tokens; position < context; position++)
      seen += Math.min(position + 1, window ?? Infinity);
  }
  return 4 * op.heads * headDim * seen; // 2 for q K^T, 2 for the sum over V
}
