import { emitFusedLinear, haveOneInput } from "./fuse-qkv-store.ts";
import type { FusionGraph } from "./fusion-graph.ts";

/** siluMul(linear(x), linear(x)), or geluMul, becomes one matrix product and the same op over its two halves. */
export function fuseGateUp(graph: FusionGraph): void {
  for (const product of [...graph.opsOf("siluMul"), ...graph.opsOf("geluMul")]) {
    const gate = graph.writer(product.op.gate, "linear");
    const up = graph.writer(product.op.up, "linear");
    if (gate === undefined || up === undefined) continue;
    const linears = [gate, up];
    if (!linears.every(({ op }) => graph.isInternal(op.out)) || !haveOneInput(graph, linears)) continue;
    const both = emitFusedLinear(graph, linears, "gate_up");
    graph.claim(product);
    graph.emit(product.index, { op: product.op.op, gate: both, up: -1, out: product.op.out });
  }
}
