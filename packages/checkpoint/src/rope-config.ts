import { limit } from "@kvant/core";
import type { ConfigFields } from "./config-fields.ts";

/**
 * Rotary position embedding. `theta` is the base of the frequencies `theta^(-2i / headDim)`, which the kinds then change:
 * - `linear` (position interpolation, arXiv 2306.15595): divided by `factor`;
 * - `llama3` (Llama 3.1): wavelengths above `originalContextLength / lowFrequencyFactor` divided by `factor`, those below
 *   `originalContextLength / highFrequencyFactor` kept, and a smooth blend between;
 * - `yarn` (arXiv 2309.00071): dimensions turning fewer than `betaSlow` times over the original context divided by
 *   `factor`, those turning more than `betaFast` times kept, a ramp between; sines and cosines times `attentionFactor`.
 */
export type RopeConfig =
  | { readonly kind: "default"; readonly theta: number }
  | { readonly kind: "linear"; readonly theta: number; readonly factor: number }
  | {
      readonly kind: "llama3";
      readonly theta: number;
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContextLength: number;
    }
  | {
      readonly kind: "yarn";
      readonly theta: number;
      readonly factor: number;
      readonly originalContextLength: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly attentionFactor: number;
    };

const layerTypes = ["full_attention", "sliding_attention"] as const;
export type LayerType = (typeof layerTypes)[number];

const thetaRange = { min: 1, max: 1e15 };
const factorRange = { min: 1, max: 1e6 };
const contextRange = { min: 1, max: limit("contextTokens") };
const positive = { min: 1e-6, max: 1e6 };

/**
 * The rotary embedding of each layer type, from any of the forms that config.json has had: `rope_parameters` flat or per
 * layer type, or the older `rope_theta` beside `rope_scaling`.
 * @throws KvantError CONFIG_INVALID
 */
export function readRope(config: ConfigFields): Readonly<Record<LayerType, RopeConfig>> {
  const theta = config.number("rope_theta", { ...thetaRange, absent: 10_000 });
  if (config.number("partial_rotary_factor", { min: 0, max: 1, absent: 1 }) !== 1) {
    return config.fail("partial_rotary_factor", "1: rotating a part of each head is not supported");
  }
  const parameters = config.nested("rope_parameters");
  const perType = layerTypes.map((type) => parameters?.nested(type));
  if (parameters === undefined || perType.every((each) => each === undefined)) {
    const rope = ropeOf(config, parameters ?? config.nested("rope_scaling"), theta);
    return { full_attention: rope, sliding_attention: rope };
  }
  const [full, sliding] = perType.map((each) => each && ropeOf(config, each, theta));
  return { full_attention: (full ?? sliding)!, sliding_attention: (sliding ?? full)! };
}

function ropeOf(config: ConfigFields, fields: ConfigFields | undefined, outerTheta: number): RopeConfig {
  if (fields === undefined) return { kind: "default", theta: outerTheta };
  const theta = fields.number("rope_theta", { ...thetaRange, absent: outerTheta });
  if (fields.number("partial_rotary_factor", { min: 0, max: 1, absent: 1 }) !== 1) {
    return fields.fail("partial_rotary_factor", "1: rotating a part of each head is not supported");
  }
  // The oldest files say `type` where later ones say `rope_type`.
  const typeField = fields.has("rope_type") ? "rope_type" : "type";
  const kind = fields.string(typeField) ?? "default";
  switch (kind) {
    case "default":
      return { kind, theta };
    case "linear":
      return { kind, theta, factor: fields.number("factor", factorRange) };
    case "llama3": {
      const lowFrequencyFactor = fields.number("low_freq_factor", positive);
      const highFrequencyFactor = fields.number("high_freq_factor", positive);
      if (highFrequencyFactor <= lowFrequencyFactor) {
        return fields.fail("high_freq_factor", `a number above low_freq_factor ${lowFrequencyFactor}`);
      }
      return {
        kind,
        theta,
        factor: fields.number("factor", factorRange),
        lowFrequencyFactor,
        highFrequencyFactor,
        originalContextLength: fields.integer("original_max_position_embeddings", contextRange),
      };
    }
    case "yarn": {
      const factor = fields.number("factor", factorRange);
      if (!fields.boolean("truncate", true))
        fields.fail("truncate", "true: ramps with fractional ends are not supported");
      return {
        kind,
        theta,
        factor,
        originalContextLength: fields.integer("original_max_position_embeddings", {
          ...contextRange,
          absent: config.integer("max_position_embeddings", contextRange),
        }),
        betaFast: fields.number("beta_fast", { ...positive, absent: 32 }),
        betaSlow: fields.number("beta_slow", { ...positive, absent: 1 }),
        attentionFactor: fields.number("attention_factor", {
          ...positive,
          absent: yarnAttentionFactor(fields, factor),
        }),
      };
    }
    default:
      return fields.fail(typeField, "a known rope type: default, linear, llama3 or yarn");
  }
}

/** `0.1 mscale ln(factor) + 1` (equation 22 of the paper), and the quotient of two such numbers where both scales are given. */
function yarnAttentionFactor(fields: ConfigFields, factor: number): number {
  const magnitude = (scale: number) => 0.1 * scale * Math.log(factor) + 1;
  const scale = fields.number("mscale", { min: 0, max: 1e3, absent: 0 });
  const scaleOfAll = fields.number("mscale_all_dim", { min: 0, max: 1e3, absent: 0 });
  return scale > 0 && scaleOfAll > 0 ? magnitude(scale) / magnitude(scaleOfAll) : magnitude(1);
}
