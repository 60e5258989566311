import type { Dataset, LengthLimits } from "./datasets/dataset.ts";
import { type FileDatasetOptions, fileDataset, fileShape } from "./datasets/file-datasets.ts";
import { promptsByLength } from "./datasets/prompts-by-length.ts";
import { randomDataset, sharedPrefixDataset, syntheticConversations } from "./datasets/synthetic-datasets.ts";
import type { Distribution } from "./distribution.ts";
import { parseCounts } from "./parse-distribution.ts";
import { promptAlphabet } from "./prompt-alphabet.ts";
import type { DatasetName, WorkloadOptions } from "./workload-options.ts";

/** Of options that have passed `checkOptions`; a trace is no dataset alone, it has times too. */
export function datasetFromOptions(name: Exclude<DatasetName, "trace">, options: WorkloadOptions): Dataset {
  return builders[name](options);
}

export function lengthLimits({ maxInputTokens, maxOutputTokens }: WorkloadOptions): LengthLimits {
  return {
    ...(maxInputTokens === undefined ? {} : { maxInputTokens }),
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
  };
}

const builders: { readonly [name in Exclude<DatasetName, "trace">]: (options: WorkloadOptions) => Dataset } = {
  random: (options) => randomDataset(promptAlphabet(options.vocabularySize), syntheticLengths(options)),

  "shared-prefix": (options) => {
    const { prefixFamilies = 8, prefixTokens = 512 } = options;
    const shares = { families: prefixFamilies, prefixTokens };
    return sharedPrefixDataset(promptAlphabet(options.vocabularySize), { ...syntheticLengths(options), ...shares });
  },

  conversation: (options) => {
    const { datasetFile, turns = "4" } = options;
    if (datasetFile === undefined) {
      const lengths = { ...syntheticLengths(options), turns: parseCounts(turns, "turns") };
      return syntheticConversations(promptAlphabet(undefined), lengths);
    }
    return fileDataset({ ...fileOptions(options, fileShape(datasetFile)), use: "conversation" });
  },

  sharegpt: (options) => fileDataset({ ...fileOptions(options, "sharegpt"), use: "single" }),

  jsonl: (options) => fileDataset({ ...fileOptions(options, "lines"), use: "single" }),

  "prompts-by-length": (options) => {
    const { datasetFile, inputTokens } = options;
    return promptsByLength({
      ...lengthLimits(options),
      path: datasetFile!,
      ...(inputTokens === undefined ? {} : { inputTokens: parseCounts(inputTokens, "inputTokens") }),
      outputTokens: answerTokens(options),
    });
  },
};

function syntheticLengths(
  options: WorkloadOptions,
): LengthLimits & { inputTokens: Distribution; outputTokens: Distribution } {
  const inputTokens = parseCounts(options.inputTokens ?? "512", "inputTokens");
  return { ...lengthLimits(options), inputTokens, outputTokens: answerTokens(options) };
}

function answerTokens({ outputTokens = "128" }: WorkloadOptions): Distribution {
  return parseCounts(outputTokens, "outputTokens");
}

/** ShareGPT has its answers recorded, and they say how long one is; lines have none. */
function fileOptions(options: WorkloadOptions, shape: FileDatasetOptions["shape"]): Omit<FileDatasetOptions, "use"> {
  const { datasetFile, datasetOrder = "shuffled", outputTokens } = options;
  const isAsRecorded = shape === "sharegpt" && outputTokens === undefined;
  return {
    ...lengthLimits(options),
    path: datasetFile!,
    shape,
    order: datasetOrder,
    ...(isAsRecorded ? {} : { outputTokens: answerTokens(options) }),
  };
}
