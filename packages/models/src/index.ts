export type { Architecture, DecoderTraits } from "./architectures/architecture.ts";
export { architecture, architectures } from "./architectures/registry.ts";
export { type BuildPlanOptions, buildPlan, type ModelPlan } from "./build-plan.ts";
export { describeScheme, type SchemeRow, schemeLines } from "./describe-scheme.ts";
export { groupLayers, type KvLayer, type LayerGroup } from "./kv-groups.ts";
export { buildLayerPlan, type LayerPlan } from "./layer-plan.ts";
export { type LoadModelOptions, type LoadProgress, loadModel, storedDtype } from "./load-model.ts";
export { loadRandomWeights } from "./random-weights.ts";
export { kTap, vTap } from "./record-decoder.ts";
export { ropeTable } from "./rope-table.ts";
export {
  activationsOf,
  type LinearScheme,
  resolveScheme,
  resolveStoredScheme,
  type Scheme,
  type SchemeRequest,
  type StoredDtype,
  type StoredQuantization,
  weightsName,
} from "./scheme.ts";
export type { ScaleSource } from "./static-scales.ts";
