import { limit } from "@kvant/core";
import { invalidOption } from "./invalid-option.ts";
import { shown } from "./json-values.ts";
import { type DatasetName, datasetNames, type WorkloadOptions } from "./workload-options.ts";

/** Options that mean something for some datasets only: elsewhere they would be ignored in silence. */
const meaningfulFor = {
  datasetFile: ["sharegpt", "jsonl", "prompts-by-length", "conversation", "trace"],
  inputTokens: ["random", "prompts-by-length", "shared-prefix", "conversation"],
  datasetOrder: ["sharegpt", "jsonl", "conversation"],
  prefixFamilies: ["shared-prefix"],
  prefixTokens: ["shared-prefix"],
  turns: ["conversation"],
  thinkSeconds: ["conversation"],
  timeScale: ["trace"],
  startOffsetSeconds: ["trace"],
} as const satisfies { readonly [option in keyof WorkloadOptions]: readonly DatasetName[] };

const needsFile: readonly DatasetName[] = ["sharegpt", "jsonl", "prompts-by-length", "trace"];

/** Options that are whole numbers, with the largest that makes sense. */
const wholeNumbers = {
  requests: 1e9,
  maxInputTokens: limit("contextTokens"),
  maxOutputTokens: limit("contextTokens"),
  vocabularySize: limit("vocabulary"),
  prefixFamilies: 1e6,
  prefixTokens: limit("contextTokens"),
} as const satisfies { readonly [option in keyof WorkloadOptions]: number };

/** Options that are numbers above 0, with the largest that makes sense: a day, a million a second. */
const positiveNumbers = {
  durationSeconds: 86_400,
  rate: 1e6,
  timeScale: 1e6,
} as const satisfies { readonly [option in keyof WorkloadOptions]: number };

/**
 * What can be said of options before any file is read: numbers in their ranges, and nothing that would have no effect.
 * @throws KvantError INVALID_ARGUMENT
 */
export function checkOptions(options: WorkloadOptions): void {
  checkNumbers(options);
  const { dataset = "random", datasetFile, rate, rampFrom, rampTo } = options;
  if (!datasetNames.includes(dataset)) {
    throw invalidOption("dataset", `dataset is ${shown(dataset)}; known are ${datasetNames.join(", ")}`);
  }
  for (const [option, datasets] of Object.entries(meaningfulFor) as [
    keyof typeof meaningfulFor,
    readonly DatasetName[],
  ][]) {
    if (options[option] !== undefined && !datasets.includes(dataset)) {
      throw invalidOption(
        option,
        `${option} means nothing for the dataset ${dataset}; it is for ${datasets.join(", ")}`,
      );
    }
  }
  if (datasetFile === undefined && needsFile.includes(dataset)) {
    throw invalidOption("datasetFile", `the dataset ${dataset} is read from a file; give datasetFile`);
  }
  if (datasetFile !== undefined && dataset === "conversation") {
    for (const option of ["inputTokens", "turns"] as const) {
      if (options[option] !== undefined) {
        throw invalidOption(option, `${option} is for synthetic conversations; ${datasetFile} brings its own`);
      }
    }
  }
  if (datasetFile === undefined && options.datasetOrder !== undefined) {
    throw invalidOption("datasetOrder", "datasetOrder is for datasets that are read from a file");
  }
  if ((rampFrom === undefined) !== (rampTo === undefined)) {
    throw invalidOption(rampFrom === undefined ? "rampFrom" : "rampTo", "a ramp has both rampFrom and rampTo");
  }
  if (rampFrom === undefined && options.rampDelaySeconds !== undefined) {
    throw invalidOption("rampDelaySeconds", "rampDelaySeconds is for a ramp");
  }
  if (rampFrom !== undefined && rate !== undefined) {
    throw invalidOption("rate", "give either a rate or a ramp, not both");
  }
}

function checkNumbers(options: WorkloadOptions): void {
  for (const [option, most] of Object.entries(wholeNumbers) as [keyof typeof wholeNumbers, number][]) {
    const value = options[option];
    if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) continue;
    throw invalidOption(option, `${option} is ${value}, not a whole number from 1 to ${most}`);
  }
  for (const [option, most] of Object.entries(positiveNumbers) as [keyof typeof positiveNumbers, number][]) {
    const value = options[option];
    if (value === undefined || (value > 0 && value <= most)) continue;
    throw invalidOption(option, `${option} is ${value}, not a number above 0 and up to ${most}`);
  }
  const { seed = 0, startOffsetSeconds = 0, rampDelaySeconds = 0, rampFrom = 1, rampTo = 1 } = options;
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) {
    throw invalidOption("seed", `seed is ${seed}, not an integer from 0 to 4294967295`);
  }
  if (!(startOffsetSeconds >= 0 && Number.isFinite(startOffsetSeconds))) {
    throw invalidOption(
      "startOffsetSeconds",
      `startOffsetSeconds is ${startOffsetSeconds}, not a number of at least 0`,
    );
  }
  if (!(rampDelaySeconds >= 0 && Number.isFinite(rampDelaySeconds))) {
    throw invalidOption("rampDelaySeconds", `rampDelaySeconds is ${rampDelaySeconds}, not a number of at least 0`);
  }
  const { rate: most } = positiveNumbers;
  for (const [option, value] of [
    ["rampFrom", rampFrom],
    ["rampTo", rampTo],
  ] as const) {
    if (!(value >= 0 && value <= most))
      throw invalidOption(option, `${option} is ${value}, not a rate from 0 to ${most}`);
  }
  if (rampFrom + rampTo === 0) throw invalidOption("rampTo", "a ramp from 0 to 0 has no requests");
}
