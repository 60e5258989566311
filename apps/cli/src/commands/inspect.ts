import { groupPageBytes, type PlannedModel, planModel, tensorClasses } from "@kvant/engine";
import { weightFormatName } from "@kvant/formats";
import { describeLowered, describePlan, type LoweringOptions, lowerPlan, type Plan, planCost } from "@kvant/kernels";
import { engineOptions, type ModelFlags } from "../model-options.ts";
import { megabytes, printRow, tensorTable } from "../print.ts";

export interface InspectFlags extends ModelFlags {
  readonly plan?: boolean;
  readonly tokens: number;
  readonly context: number;
  readonly json?: boolean;
}

const pageTokens = 16;

/** What a model would really be served as: formats and bytes per tensor class, KV bytes per token, the plan. */
export async function inspect(model: string | undefined, flags: InspectFlags): Promise<void> {
  const options = engineOptions(model, flags);
  const planned = planModel(options);
  planned.source.checkpoint?.close();
  const name = options.servedModelName ?? planned.source.name;
  if (flags.json) printRow(report(name, planned, flags));
  else process.stdout.write(`${lines(name, planned, flags).join("\n")}\n`);
}

function kvBytesPerToken(plan: Plan): number {
  return plan.kvGroups.reduce((sum, group) => sum + groupPageBytes(group, pageTokens), 0) / pageTokens;
}

function report(name: string, { source, scheme, plan }: PlannedModel, flags: InspectFlags): object {
  return {
    model: name,
    architecture: source.config.architecture,
    contextLength: plan.contextLength,
    weights: weightFormatName(scheme.weights),
    head: weightFormatName(scheme.head),
    embedding: scheme.embedding,
    activations: scheme.activations,
    kvFormat: scheme.kv,
    kvBytesPerToken: kvBytesPerToken(plan),
    tensorClasses: tensorClasses(plan),
    ...(flags.plan
      ? {
          plan: planCost(plan, { tokens: flags.tokens, contexts: [flags.context] }),
          lowered: lowered(plan, backendOf(flags)),
        }
      : {}),
  };
}

function lines(name: string, { source, plan, scheme }: PlannedModel, flags: InspectFlags): string[] {
  const { config } = source;
  const shape =
    `${name}: ${config.architecture}, ${config.layerCount} layers, hidden ${config.hiddenSize}, FFN ${config.intermediateSize}, ` +
    `${config.headCount}/${config.kvHeadCount} heads of ${config.headDim}, vocabulary ${config.vocabSize}, context ${plan.contextLength}`;
  const result = [
    shape,
    tensorTable(tensorClasses(plan)),
    `KV cache ${scheme.kv}: ${kvBytesPerToken(plan)} bytes per token`,
  ];
  if (!flags.plan) return result;
  const cost = { tokens: flags.tokens, contexts: [flags.context] };
  const total = planCost(plan, cost);
  const backend = backendOf(flags);
  return [
    ...result,
    "",
    `recorded plan, one row of ${flags.tokens} new tokens at context ${flags.context}:`,
    ...describePlan(plan, cost),
    `total: ${megabytes(total.weightBytes)} of weights, ${megabytes(total.kvBytes)} of KV, ${megabytes(total.activationBytes)} of activations, ${(total.operations / 1e6).toFixed(2)} million operations`,
    "",
    `lowered for the ${backend === "cpu" ? "CPU" : "CUDA"} backend:`,
    ...lowered(plan, backend),
  ];
}

/** The backend that would run the plan; the reference has no lowered form, so the CPU's stands in. */
function backendOf(flags: InspectFlags): LoweringOptions["backend"] {
  return flags.device?.startsWith("cuda") === true ? "cuda" : "cpu";
}

function lowered(plan: Plan, backend: LoweringOptions["backend"]): readonly string[] {
  return describeLowered(lowerPlan(plan, { pageTokens, pageCounts: plan.kvGroups.map(() => 2), backend }));
}
