import { openModel, pageBudget, tensorClasses } from "@kvant/engine";
import { weightFormatName } from "@kvant/formats";
import { createBackend, planCost, planText } from "@kvant/kernels";
import { buildPlan, resolveScheme, storedDtype } from "@kvant/models";
import { engineOptions, type ModelFlags } from "../model-options.ts";
import { megabytes, printRow, table } from "../print.ts";

export interface InspectFlags extends ModelFlags {
  readonly plan?: boolean;
  readonly tokens: number;
  readonly context: number;
  readonly json?: boolean;
}

/** What a model would really be served as: formats and bytes per tensor class, KV bytes per token, the plan. */
export async function inspect(model: string | undefined, flags: InspectFlags): Promise<void> {
  const options = engineOptions(model, flags);
  const source = openModel(options);
  try {
    const { config, checkpoint } = source;
    const scheme = resolveScheme(options, checkpoint === undefined ? "bf16" : storedDtype(checkpoint));
    const { plan } = buildPlan(config, scheme, { scales: checkpoint, contextLength: options.contextLength });
    const classes = tensorClasses(plan);
    const pageTokens = 16;
    const { bytesPerToken } = pageBudget(plan.kvGroups, { pageTokens, maxRows: 1, contextLength: plan.contextLength });
    if (flags.json) {
      printRow({
        model: options.servedModelName ?? source.name,
        architecture: config.architecture,
        contextLength: plan.contextLength,
        weights: weightFormatName(scheme.weights),
        head: weightFormatName(scheme.head),
        embedding: scheme.embedding,
        activations: scheme.activations,
        kvFormat: scheme.kv,
        kvBytesPerToken: bytesPerToken,
        tensorClasses: classes,
      });
    } else {
      process.stdout.write(
        [
          `${options.servedModelName ?? source.name}: ${config.architecture}, ${config.layerCount} layers, hidden ${config.hiddenSize}, ` +
            `${config.headCount}/${config.kvHeadCount} heads of ${config.headDim}, vocabulary ${config.vocabSize}, context ${plan.contextLength}`,
          table(
            ["tensors", "format", "activations", "count", "parameters", "bytes", ""],
            classes.map((row) => [
              row.class,
              row.format,
              row.activations ?? "-",
              String(row.tensorCount),
              row.elementCount.toLocaleString("en"),
              megabytes(row.bytes),
              row.isQuantized ? "quantized" : "not quantized",
            ]),
          ),
          `KV cache ${scheme.kv}: ${bytesPerToken} bytes per token`,
          "",
        ].join("\n"),
      );
    }
    if (flags.plan) printPlan();

    function printPlan(): void {
      const backend = createBackend(
        options.device ?? "cpu",
        options.threads === undefined ? {} : { threads: options.threads },
      );
      const lines = planText(plan, backend, { tokens: flags.tokens, context: flags.context });
      process.stdout.write(`${lines}\n`);
      const cost = planCost(plan, { tokens: flags.tokens, contexts: [flags.context] });
      void cost;
    }
  } finally {
    source.checkpoint?.close();
  }
}
