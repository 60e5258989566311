import { KvantError } from "@kvant/core";
import type { KvFormatName } from "@kvant/formats";
import { type ActivationObserverName, activationObservers } from "../observers/observers.ts";
import { type LinearRecipe, type LinearRecipeNames, parseLinearRecipe } from "./linear-recipe.ts";

/** Static scales for the KV cache, from calibration. */
export interface KvRecipe {
  readonly format: Extract<KvFormatName, "e4m3" | "e5m2" | "int8">;
  readonly granularity: "head" | "tensor";
}

/** What becomes of every linear layer of a model. */
export interface Recipe {
  /** The first rule whose pattern matches a module's name decides. */
  readonly rules: readonly { readonly match: string; readonly linear: LinearRecipe }[];
  /** Patterns of modules that stay as they are, before any rule. */
  readonly ignore: readonly string[];
  readonly kv: KvRecipe | undefined;
  /** How static activation and KV scales follow from what calibration saw. */
  readonly observer: ActivationObserverName;
  /** GPTQ: fraction of the Hessian's mean diagonal that is added to it; columns with large inputs first. */
  readonly damping: number;
  readonly actOrder: boolean;
}

/** A module under a recipe. */
export type ModuleRecipe =
  | { readonly kind: "quantize"; readonly linear: LinearRecipe }
  | { readonly kind: "keep"; readonly reason: string };

const defaultDamping = 0.01;

/**
 * Reads a recipe from data, as a YAML or JSON file holds it:
 *
 *     rules:
 *       - { match: "*.down_proj", scheme: int8, granularity: channel, method: absmax }
 *       - { match: "*", scheme: int4, granularity: "group:128", method: awq+gptq }
 *     ignore: [lm_head]
 *     kv: { format: int8, granularity: head }
 *     observer: min-max
 *     gptq: { damping: 0.01, actOrder: true }
 *
 * `*` in a pattern stands for any characters; `re:` begins a regular expression for the whole name.
 * @throws KvantError INVALID_ARGUMENT naming the field
 */
export function parseRecipe(data: unknown): Recipe {
  const fields = record(data, "a recipe", ["rules", "ignore", "kv", "observer", "gptq"]);
  const rules = list(fields.rules, "rules").map((each, index) => {
    const place = `rules[${index}]`;
    const rule = record(each, place, ["match", "scheme", "granularity", "method", "affine", "activations"]);
    const match = text(rule.match, `${place}.match`);
    moduleMatcher(match);
    return { match, linear: parseLinearRecipe(linearNames(rule, place)) };
  });
  if (rules.length === 0) throw invalid("rules", "a recipe has at least one rule");
  const ignore = list(fields.ignore ?? [], "ignore").map((each, index) => text(each, `ignore[${index}]`));
  for (const pattern of ignore) moduleMatcher(pattern);
  const gptq = record(fields.gptq ?? {}, "gptq", ["damping", "actOrder"]);
  const damping = gptq.damping ?? defaultDamping;
  if (!(typeof damping === "number" && damping >= 0 && damping <= 1)) {
    throw invalid("gptq.damping", `gptq.damping is a fraction from 0 to 1, not ${JSON.stringify(damping)}`);
  }
  return {
    rules,
    ignore,
    kv: parseKv(fields.kv),
    observer: parseObserver(fields.observer),
    damping,
    actOrder: flag(gptq.actOrder, "gptq.actOrder"),
  };
}

/** One rule for all linear layers but the output head: what `--scheme` and its neighbours say. */
export function uniformRecipe(linear: LinearRecipe, options: Partial<Omit<Recipe, "rules">> = {}): Recipe {
  const { ignore = ["lm_head"], kv, observer = "min-max", damping = defaultDamping, actOrder = false } = options;
  return { rules: [{ match: "*", linear }], ignore, kv, observer, damping, actOrder };
}

/** What a recipe says of a module. */
export function recipeFor({ rules, ignore }: Recipe, module: string): ModuleRecipe {
  const ignored = ignore.find((pattern) => moduleMatcher(pattern)(module));
  if (ignored !== undefined) return { kind: "keep", reason: `the recipe ignores "${ignored}"` };
  const rule = rules.find(({ match }) => moduleMatcher(match)(module));
  if (rule === undefined) return { kind: "keep", reason: "no rule of the recipe matches" };
  return { kind: "quantize", linear: rule.linear };
}

/** @throws KvantError INVALID_ARGUMENT for a regular expression that is none */
function moduleMatcher(pattern: string): (module: string) => boolean {
  try {
    const source = pattern.startsWith("re:")
      ? pattern.slice(3)
      : pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
    const expression = new RegExp(`^(?:${source})$`);
    return (module) => expression.test(module);
  } catch (cause) {
    throw new KvantError("INVALID_ARGUMENT", `"${pattern}" is not a pattern of module names`, { cause });
  }
}

function linearNames(rule: Readonly<Record<string, unknown>>, place: string): LinearRecipeNames {
  const optional = (field: string) => (rule[field] === undefined ? undefined : text(rule[field], `${place}.${field}`));
  return {
    scheme: text(rule.scheme, `${place}.scheme`),
    granularity: optional("granularity"),
    method: text(rule.method, `${place}.method`),
    affine: flag(rule.affine, `${place}.affine`),
    activations: optional("activations"),
  };
}

function parseKv(data: unknown): KvRecipe | undefined {
  if (data === undefined) return undefined;
  const kv = record(data, "kv", ["format", "granularity"]);
  const [format, granularity] = [kv.format, kv.granularity];
  if (format !== "e4m3" && format !== "e5m2" && format !== "int8") {
    throw invalid("kv.format", `static KV scales are for e4m3, e5m2 and int8, not ${JSON.stringify(format)}`);
  }
  if (granularity !== "head" && granularity !== "tensor") {
    throw invalid("kv.granularity", `static KV scales are per head or per tensor, not ${JSON.stringify(granularity)}`);
  }
  return { format, granularity };
}

/** @throws KvantError INVALID_ARGUMENT listing the observers */
export function parseObserver(data: unknown): ActivationObserverName {
  if (data === undefined) return "min-max";
  if (typeof data === "string" && Object.hasOwn(activationObservers, data)) return data as ActivationObserverName;
  const known = Object.keys(activationObservers).join(", ");
  throw invalid("observer", `no observer is called ${JSON.stringify(data)}; there are ${known}`);
}

function record(data: unknown, place: string, known: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof data !== "object" || data === null || Array.isArray(data)) {
    throw invalid(place, `${place} is an object with ${known.join(", ")}, not ${JSON.stringify(data)}`);
  }
  const unknown = Object.keys(data).find((key) => !known.includes(key));
  if (unknown !== undefined) throw invalid(place, `${place} has no field "${unknown}"; there are ${known.join(", ")}`);
  return data as Readonly<Record<string, unknown>>;
}

function list(data: unknown, place: string): readonly unknown[] {
  if (Array.isArray(data)) return data;
  throw invalid(place, `${place} is a list, not ${JSON.stringify(data)}`);
}

function text(data: unknown, place: string): string {
  if (typeof data === "string" && data !== "") return data;
  throw invalid(place, `${place} is a word, not ${JSON.stringify(data)}`);
}

function flag(data: unknown, place: string): boolean {
  if (data === undefined || typeof data === "boolean") return data ?? false;
  throw invalid(place, `${place} is true or false, not ${JSON.stringify(data)}`);
}

function invalid(field: string, sentence: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", sentence, { field });
}
