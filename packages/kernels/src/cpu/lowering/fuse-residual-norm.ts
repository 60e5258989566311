import type { FusionGraph } from "./fusion-graph.ts";

/**
 * sum = x + y; out = rmsNorm(sum) becomes one `rmsNorm` with a residual, which leaves the sum in x's memory. x must not be
 * needed under its own name any more, and nobody may want the sum before the norm runs.
 */
export function fuseResidualNorm(graph: FusionGraph): void {
  for (const norm of graph.opsOf("rmsNorm")) {
    const sum = norm.op.x;
    const add = graph.writer(sum, "add");
    if (add === undefined) continue;
    const { x, y } = add.op;
    const fits =
      x !== y &&
      !graph.isPinned(x) &&
      graph.readers(x).every((index) => index <= add.index) &&
      graph.readers(sum).every((index) => index >= norm.index);
    if (!fits) continue;
    graph.claim(add, norm);
    graph.alias(sum, x);
    graph.emit(norm.index, {
      op: "rmsNorm",
      x,
      residual: y,
      weight: graph.plainWeight(norm.op.weight),
      epsilon: norm.op.epsilon,
      out: norm.op.out,
    });
  }
}
