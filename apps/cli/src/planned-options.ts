import { type EngineOptions, planModel } from "@kvant/engine";
import { engineOptions, type ModelFlags, type SizeFlags } from "./model-options.ts";

/** Options of which a plan can be made: what is wrong with one of several shows before another is measured for minutes. */
export function plannedOptions(model: string | undefined, flags: ModelFlags & SizeFlags): EngineOptions {
  const options = engineOptions(model, flags);
  planModel(options).source.checkpoint?.close();
  return options;
}
