import type { BufferId, Op } from "../../plan.ts";
import type { FusionGraph, Placed } from "./fusion-graph.ts";

type Linear = Placed<Extract<Op, { op: "linear" }>>;
type Norm = Placed<Extract<Op, { op: "rmsNorm" }>>;
type Rope = Placed<Extract<Op, { op: "rope" }>>;

/** linear -> (rmsNorm over heads) -> (rope), as q and k go. */
interface HeadPath {
  readonly linear: Linear;
  readonly norm: Norm | undefined;
  readonly rope: Rope | undefined;
}

/**
 *     q, k, v = linear(x); q, k = rope(norm(q)), rope(norm(k)); kvWrite(k, v); attention(q)
 *
 * becomes one matrix product and one `qkvStore`. The norms and the rotation may be absent, on both sides alike for the
 * rotation. Nothing between may be read by anyone else.
 */
export function fuseQkvStore(graph: FusionGraph): void {
  for (const write of graph.opsOf("kvWrite")) {
    const group = graph.plan.kvGroups[write.op.group]!;
    const attention = graph
      .opsOf("attention")
      .find(({ op }) => op.group === write.op.group && op.layer === write.op.layer);
    if (attention === undefined) continue;
    const q = headPath(graph, attention.op.q, group.headDim);
    const k = headPath(graph, write.op.k, group.headDim);
    const v = graph.writer(write.op.v, "linear");
    if (q === undefined || k === undefined || v === undefined) continue;
    const linears = [q.linear, k.linear, v];
    const out = attention.op.q;
    const internal = [q, k].flatMap(({ linear, norm }) =>
      norm === undefined ? [linear.op.out] : [linear.op.out, norm.op.out],
    );
    const fits =
      [...internal, write.op.k, write.op.v].every((id) => id === out || graph.isInternal(id)) &&
      graph.readers(out).every((index) => index > write.index) &&
      haveOneInput(graph, linears) &&
      q.rope?.op.rope === k.rope?.op.rope &&
      (q.norm === undefined || k.norm === undefined || q.norm.op.epsilon === k.norm.op.epsilon);
    if (!fits) continue;

    const qkv = emitFusedLinear(graph, linears, "qkv");
    graph.claim(q.norm, q.rope, k.norm, k.rope, write);
    graph.emit(write.index, {
      op: "qkvStore",
      qkv,
      heads: attention.op.heads,
      qNorm: q.norm === undefined ? -1 : graph.plainWeight(q.norm.op.weight),
      kNorm: k.norm === undefined ? -1 : graph.plainWeight(k.norm.op.weight),
      epsilon: (q.norm ?? k.norm)?.op.epsilon ?? 0,
      rope: q.rope?.op.rope ?? -1,
      group: write.op.group,
      layer: write.op.layer,
      out,
    });
  }
}

function headPath(graph: FusionGraph, end: BufferId, headDim: number): HeadPath | undefined {
  const rope = graph.writer(end, "rope");
  if (rope !== undefined && rope.op.headDim !== headDim) return undefined;
  const norm = graph.writer(rope?.op.x ?? end, "rmsNorm");
  if (norm !== undefined && graph.weight(norm.op.weight).cols !== headDim) return undefined;
  const linear = graph.writer(norm?.op.x ?? rope?.op.x ?? end, "linear");
  return linear === undefined ? undefined : { linear, norm, rope };
}

/** True when the linears read one input and their matrices and biases can lie in one. */
export function haveOneInput(graph: FusionGraph, linears: readonly Linear[]): boolean {
  const [first] = linears;
  return linears.every(
    ({ op, index }, at) =>
      linears.findIndex((each) => each.index === index) === at &&
      op.x === first!.op.x &&
      graph.isReadOnce(op.weight) &&
      graph.canShareMatrix(first!.op.weight, op.weight) &&
      (op.bias === undefined) === (first!.op.bias === undefined) &&
      (op.bias === undefined || graph.isReadOnce(op.bias)),
  );
}

/** Replaces linears by one, at the place of the first; returns its output `[T, sum of rows]`. */
export function emitFusedLinear(graph: FusionGraph, linears: readonly Linear[], name: string): number {
  const [first] = [...linears].sort((a, b) => a.index - b.index);
  const width = linears.reduce((sum, { op }) => sum + graph.weight(op.weight).rows, 0);
  const out = graph.addBuffer({ name, width, rows: graph.buffers[first!.op.out]!.rows });
  graph.claim(...linears);
  graph.emit(first!.index, {
    op: "linear",
    x: first!.op.x,
    weight: graph.fuseMatrices(linears.map(({ op }) => op.weight)),
    bias: graph.fuseVectors(linears.flatMap(({ op }) => (op.bias === undefined ? [] : [op.bias]))),
    out,
  });
  return out;
}
