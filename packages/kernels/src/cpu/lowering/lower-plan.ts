import type { CompileOptions } from "../../backend.ts";
import { pinnedBuffers } from "../../op-operands.ts";
import type { BufferId, Op, Plan, WeightId } from "../../plan.ts";
import type { NativeOp, NativePlan } from "../native-addon.ts";
import { assignSlots } from "./assign-slots.ts";
import { fuseGateUp } from "./fuse-gate-up.ts";
import { fuseQkvStore } from "./fuse-qkv-store.ts";
import { fuseResidualNorm } from "./fuse-residual-norm.ts";
import { FusionGraph } from "./fusion-graph.ts";
import { nativeKvGroup } from "./native-kv-group.ts";
import { mapBuffers, nativeReads, nativeWrite } from "./native-operands.ts";
import type { NativeBackend } from "./native-weight.ts";

/** Where a plan weight lies in the lowered plan. */
export interface WeightPlace {
  readonly index: number;
  /** First row of the part in a fused matrix. */
  readonly rowOffset: number;
  /** First value of the part in a fused vector. */
  readonly valueOffset: number;
}

export interface LoweredPlan {
  readonly native: NativePlan;
  /** Native index of each buffer that outlives the step; fusion may have swallowed the others. */
  readonly bufferOf: ReadonlyMap<BufferId, number>;
  readonly weightOf: ReadonlyMap<WeightId, WeightPlace>;
  /** `[native buffers]` and `[native weights]` names for people. */
  readonly bufferNames: readonly string[];
  readonly weightNames: readonly string[];
}

/** The patterns, in order. Adding one is a file and an entry here. */
const patterns: readonly ((graph: FusionGraph) => void)[] = [fuseQkvStore, fuseGateUp, fuseResidualNorm];

export interface LoweringOptions extends Pick<CompileOptions, "pageTokens" | "pageCounts" | "hostPageCounts"> {
  readonly backend: NativeBackend;
}

/**
 * Turns a valid plan into the addon's ops: fuses the patterns, drops taps (their buffers are kept), and lets buffers share
 * memory by liveness.
 * @throws KvantError OP_UNSUPPORTED for schemes without kernels on that backend
 */
export function lowerPlan(plan: Plan, options: LoweringOptions): LoweredPlan {
  const graph = new FusionGraph(plan, options.backend);
  for (const pattern of patterns) pattern(graph);
  const ordered = graph.order((op) => lowerOp(op, graph)).map((op) => mapBuffers(op, (index) => graph.resolve(index)));

  const pinned = [...pinnedBuffers(plan)];
  const used = new Set(pinned.map((id) => graph.resolve(id)));
  for (const op of ordered) {
    for (const index of nativeReads(op)) used.add(index);
    const written = nativeWrite(op);
    if (written !== undefined) used.add(written);
  }
  const kept = [...used].sort((a, b) => a - b);
  const compact = new Map(kept.map((index, position) => [index, position]));
  const ops = ordered.map((op) => mapBuffers(op, (index) => compact.get(index)!));
  const buffers = kept.map((index) => graph.buffers[index]!);
  const bufferOf = new Map(pinned.map((id) => [id, compact.get(graph.resolve(id))!]));
  const outliving = new Set(bufferOf.values());
  const slots = assignSlots(buffers, ops, outliving);

  return {
    native: {
      vocabSize: plan.vocabSize,
      contextLength: plan.contextLength,
      buffers: buffers.map(({ width, rows }, index) => ({
        width,
        rows,
        slot: slots[index]!,
        kept: outliving.has(index) ? 1 : 0,
      })),
      weights: graph.weights.map(({ native }) => native),
      ropes: plan.ropes,
      kvGroups: plan.kvGroups.map((group, index) =>
        nativeKvGroup(group, options.pageTokens, options.pageCounts[index]!, options.hostPageCounts?.[index] ?? 0),
      ),
      ops,
      logits: plan.logits === undefined ? -1 : bufferOf.get(plan.logits)!,
    },
    bufferOf,
    weightOf: weightPlaces(graph),
    bufferNames: buffers.map(({ name }) => name),
    weightNames: graph.weights.map(({ parts }) => parts.map((id) => graph.weight(id).name).join(" + ")),
  };
}

function lowerOp(op: Op, graph: FusionGraph): NativeOp | undefined {
  switch (op.op) {
    case "tap":
      return undefined;
    case "embed":
      return { ...op, table: graph.plainWeight(op.table) };
    case "rmsNorm":
      return { ...op, residual: -1, weight: graph.plainWeight(op.weight) };
    case "linear":
      return {
        ...op,
        weight: graph.plainWeight(op.weight),
        bias: op.bias === undefined ? -1 : graph.plainWeight(op.bias),
      };
    default:
      return op;
  }
}

function weightPlaces(graph: FusionGraph): ReadonlyMap<WeightId, WeightPlace> {
  const places = new Map<WeightId, WeightPlace>();
  graph.weights.forEach(({ parts }, index) => {
    let [rowOffset, valueOffset] = [0, 0];
    for (const id of parts) {
      const { rows, cols } = graph.weight(id);
      places.set(id, { index, rowOffset, valueOffset });
      rowOffset += rows;
      valueOffset += rows * cols;
    }
  });
  return places;
}
