import { KvantError } from "@kvant/core";
import { type Granularity, parseWeightFormat, type WeightFormat, weightFormatName } from "@kvant/formats";

/** Schemes by name: the format of the weights and, where activations are quantized, theirs. */
const schemes = {
  int8: { format: "int8", activations: undefined },
  int4: { format: "int4", activations: undefined },
  int3: { format: "int3", activations: undefined },
  int2: { format: "int2", activations: undefined },
  e4m3: { format: "e4m3", activations: undefined },
  fp4: { format: "e2m1", activations: undefined },
  mxfp4: { format: "mxfp4", activations: undefined },
  nvfp4: { format: "nvfp4", activations: undefined },
  "w8a8-int8": { format: "int8", activations: "int8" },
  "w8a8-e4m3": { format: "e4m3", activations: "e4m3" },
} as const;
export type SchemeName = keyof typeof schemes;

const folds = ["awq", "smoothquant"] as const;
const roundings = ["absmax", "percentile", "mse", "entropy", "gptq"] as const;
export type Fold = (typeof folds)[number];
export type Rounding = (typeof roundings)[number];

/** How one linear layer is quantized. */
export interface LinearRecipe {
  readonly scheme: SchemeName;
  readonly weightFormat: WeightFormat;
  /** What moves between activations and weights before rounding. */
  readonly fold: Fold | undefined;
  /** How scales and codes are chosen. */
  readonly rounding: Rounding;
  /** Absent: activations stay in 16 or 32 bit. */
  readonly activations: { readonly format: "int8" | "e4m3"; readonly scale: "dynamic" | "static" } | undefined;
}

/** The words in which command lines and recipe files say it. */
export interface LinearRecipeNames {
  readonly scheme: string;
  /** `tensor`, `channel` or `group:N`; none for mxfp4 and nvfp4, whose groups are part of the format. */
  readonly granularity?: string | undefined;
  /** A fold (`awq`, `smoothquant`), a rounding (`absmax`, `percentile`, `mse`, `entropy`, `gptq`), or one of each joined by +. */
  readonly method: string;
  /** Zero points beside the scales; integer schemes only. */
  readonly affine?: boolean | undefined;
  /** `dynamic` or `static`, for schemes with quantized activations; default dynamic. */
  readonly activations?: string | undefined;
}

/**
 * Reads the names of a recipe.
 * @throws KvantError INVALID_ARGUMENT naming the word and what there is, FORMAT_UNKNOWN, METHOD_NOT_BUILT for `qat`
 */
export function parseLinearRecipe(names: LinearRecipeNames): LinearRecipe {
  const scheme = schemeOf(names.scheme);
  const { fold, rounding } = parseMethod(names.method);
  const weightFormat = weightFormatOf(names, scheme);
  const activationFormat = schemes[scheme].activations;
  const { activations } = names;
  if (activations !== undefined && activations !== "dynamic" && activations !== "static") {
    throw invalid("activations", `activations are dynamic or static, not "${activations}"`);
  }
  if (activations !== undefined && activationFormat === undefined) {
    throw invalid("activations", `scheme ${scheme} leaves activations in 16 bit, so they cannot be ${activations}`);
  }
  if (fold === "smoothquant" && activationFormat === undefined) {
    throw invalid(
      "method",
      `smoothquant moves outliers of quantized activations into weights; scheme ${scheme} has none`,
    );
  }
  return {
    scheme,
    weightFormat,
    fold,
    rounding,
    activations:
      activationFormat === undefined ? undefined : { format: activationFormat, scale: activations ?? "dynamic" },
  };
}

/** Whether a recipe looks at activations, and so needs calibration text. */
export function needsCalibration({ fold, rounding, activations }: LinearRecipe): boolean {
  return fold !== undefined || rounding === "gptq" || activations?.scale === "static";
}

/** The recipe's method as it was named: `awq`, `gptq`, `smoothquant+gptq`. */
export function methodName({ fold, rounding }: Pick<LinearRecipe, "fold" | "rounding">): string {
  if (fold === undefined) return rounding;
  return rounding === "absmax" ? fold : `${fold}+${rounding}`;
}

function schemeOf(name: string): SchemeName {
  if (Object.hasOwn(schemes, name)) return name as SchemeName;
  throw invalid("scheme", `no scheme is called "${name}"; there are ${Object.keys(schemes).join(", ")}`);
}

function parseMethod(name: string): { readonly fold: Fold | undefined; readonly rounding: Rounding } {
  let fold: Fold | undefined;
  let rounding: Rounding | undefined;
  for (const word of name.split("+")) {
    if (isOneOf(folds, word) && fold === undefined) fold = word;
    else if (isOneOf(roundings, word) && rounding === undefined) rounding = word;
    else throw methodError(name, word);
  }
  return { fold, rounding: rounding ?? "absmax" };
}

function methodError(name: string, word: string): KvantError {
  const known = `${roundings.join(", ")}, and ${folds.join(" or ")} alone or before one of them, as in awq+gptq`;
  if (word === "qat")
    return new KvantError("METHOD_NOT_BUILT", `the method qat is not in this release; there are ${known}`);
  const subject = isOneOf([...folds, ...roundings], word)
    ? `method "${name}" names two of a kind`
    : `no method is called "${word}"`;
  return invalid("method", `${subject}; there are ${known}`);
}

function weightFormatOf({ granularity, affine = false }: LinearRecipeNames, scheme: SchemeName): WeightFormat {
  const { format } = schemes[scheme];
  if (format === "mxfp4" || format === "nvfp4") {
    if (granularity === undefined && !affine) return parseWeightFormat(format);
    const size = format === "mxfp4" ? 32 : 16;
    throw invalid(
      "granularity",
      `${format} has a scale per ${size} values and no zero points; leave granularity and affine out`,
    );
  }
  if (granularity === undefined) {
    throw invalid("granularity", `scheme ${scheme} needs a granularity: tensor, channel or group:N`);
  }
  const isInteger = format.startsWith("int");
  if (affine && !isInteger) throw invalid("affine", `zero points are for integer schemes, not ${scheme}`);
  const weightFormat: WeightFormat = { format, granularity: parseGranularity(granularity), affine };
  if (scheme.startsWith("w8a8") && weightFormat.granularity?.kind === "group" && scheme === "w8a8-e4m3") {
    throw invalid(
      "granularity",
      `${weightFormatName(weightFormat)} has no kernel with e4m3 activations: take channel or tensor`,
    );
  }
  return weightFormat;
}

function parseGranularity(name: string): Granularity {
  if (name === "tensor") return { kind: "tensor" };
  if (name === "channel") return { kind: "channel", axis: 0 };
  const size = /^group:([1-9]\d{0,5})$/.exec(name)?.[1];
  if (size !== undefined) return { kind: "group", size: Number(size) };
  throw invalid("granularity", `a granularity is tensor, channel or group:N, not "${name}"`);
}

function isOneOf<T extends string>(words: readonly T[], word: string): word is T {
  return (words as readonly string[]).includes(word);
}

function invalid(field: string, sentence: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", sentence, { field });
}
