import type { NativeOp, NativeWeight } from "../native-addon.ts";
import type { LoweredPlan } from "./lower-plan.ts";

/** The lowered plan as text, one line per op: `qkv = linear(attention_norm, q_proj + k_proj + v_proj [384, 256] int8)`. */
export function describeLowered(lowered: LoweredPlan): readonly string[] {
  const buffer = (index: number) => lowered.bufferNames[index]!;
  const weight = (index: number) => {
    const { rows, cols, format } = lowered.native.weights[index]!;
    return `${lowered.weightNames[index]} [${rows}, ${cols}] ${format}${granularity(lowered.native.weights[index]!)}`;
  };
  return lowered.native.ops.map((op) => describeOp(op, buffer, weight));
}

function describeOp(op: NativeOp, buffer: (index: number) => string, weight: (index: number) => string): string {
  switch (op.op) {
    case "embed":
      return `${buffer(op.out)} = embed(${weight(op.table)})`;
    case "rmsNorm": {
      const x = op.residual < 0 ? buffer(op.x) : `${buffer(op.x)} += ${buffer(op.residual)}`;
      return `${buffer(op.out)} = rmsNorm(${x}, ${weight(op.weight)})`;
    }
    case "linear": {
      const bias = op.bias < 0 ? "" : `, ${weight(op.bias)}`;
      return `${buffer(op.out)} = linear(${buffer(op.x)}, ${weight(op.weight)}${bias})`;
    }
    case "add":
      return `${buffer(op.out)} = add(${buffer(op.x)}, ${buffer(op.y)})`;
    case "rope":
      return `${buffer(op.out)} = rope(${buffer(op.x)}, head dim ${op.headDim})`;
    case "kvWrite":
      return `kvWrite(${buffer(op.k)}, ${buffer(op.v)}, group ${op.group} layer ${op.layer})`;
    case "qkvStore": {
      const parts = [buffer(op.qkv), `${op.heads} heads`];
      if (op.qNorm >= 0) parts.push(`q norm ${weight(op.qNorm)}`);
      if (op.kNorm >= 0) parts.push(`k norm ${weight(op.kNorm)}`);
      if (op.rope >= 0) parts.push(`rope ${op.rope}`);
      return `${buffer(op.out)} = qkvStore(${parts.join(", ")}, group ${op.group} layer ${op.layer})`;
    }
    case "attention":
      return `${buffer(op.out)} = attention(${buffer(op.q)}, ${op.heads} heads, group ${op.group} layer ${op.layer})`;
    case "siluMul":
    case "geluMul":
      return `${buffer(op.out)} = ${op.op}(${buffer(op.gate)}${op.up < 0 ? "" : `, ${buffer(op.up)}`})`;
    case "gatherRows":
      return `${buffer(op.out)} = gatherRows(${buffer(op.x)})`;
    default:
      return op satisfies never;
  }
}

function granularity({ kind, groupSize, activation }: NativeWeight): string {
  if (kind !== "matrix") return "";
  const suffix = groupSize === 0 ? "" : groupSize === -1 ? "-channel" : groupSize === -2 ? "-tensor" : `-g${groupSize}`;
  return `${suffix} x ${activation}`;
}
