import { KvantError } from "@kvant/core";
import type { KvFormatName } from "./kv-format.ts";
import { formats } from "./registry.ts";

/** What decides where things lie in a page of the KV cache. */
export interface PageSpec {
  readonly layerCount: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Tokens of one page. */
  readonly pageTokens: number;
  readonly format: KvFormatName;
  /** Where the scales are: in the page only for `token-head`; `head` and `tensor` scales are static, `none` has none. */
  readonly scales: "token-head" | "head" | "tensor" | "none";
}

/**
 * Byte offsets inside one page: page -> layer -> [K codes][V codes][K scales][V scales]. Codes are
 * `[kvHeads, pageTokens, headDim]`, scales float32 `[kvHeads, pageTokens]`; numbers are little-endian. Every part starts
 * 16-byte aligned, layers are a multiple of 16 bytes and pages of 64.
 */
export interface PageLayout extends PageSpec {
  /** Offsets from the start of a layer. A part that the page does not hold has no bytes. */
  readonly kCodes: number;
  readonly vCodes: number;
  readonly kScales: number;
  readonly vScales: number;
  /** Bytes of one code part and of one scale part, without padding. */
  readonly codeBytes: number;
  readonly scaleBytes: number;
  readonly layerBytes: number;
  readonly pageBytes: number;
  /** Bytes that one cached token takes in all layers: `pageBytes / pageTokens`, padding included. */
  readonly bytesPerToken: number;
}

/**
 * The layout of a page. The one computation that page memory, kernels and the cache manager share.
 * @throws KvantError INVALID_ARGUMENT if a size is not a positive integer, or the scales do not suit the format
 */
export function pageLayout(spec: PageSpec): PageLayout {
  for (const name of ["layerCount", "kvHeads", "headDim", "pageTokens"] as const) {
    if (!Number.isSafeInteger(spec[name]) || spec[name] < 1) {
      throw new KvantError("INVALID_ARGUMENT", `${name} of a page is a positive integer, not ${spec[name]}`);
    }
  }
  const { bits } = formats[spec.format];
  if ((bits === 8) !== (spec.scales !== "none")) {
    const rule = bits === 8 ? "needs scales" : "has no scales";
    throw new KvantError("INVALID_ARGUMENT", `KV format ${spec.format} ${rule}, but the page says "${spec.scales}"`);
  }
  const codeBytes = (spec.kvHeads * spec.pageTokens * spec.headDim * bits) / 8;
  const scaleBytes = spec.scales === "token-head" ? spec.kvHeads * spec.pageTokens * 4 : 0;
  const vCodes = roundUp(codeBytes, 16);
  const kScales = vCodes + roundUp(codeBytes, 16);
  const vScales = kScales + roundUp(scaleBytes, 16);
  const layerBytes = vScales + roundUp(scaleBytes, 16);
  const pageBytes = roundUp(spec.layerCount * layerBytes, 64);
  return {
    ...spec,
    kCodes: 0,
    vCodes,
    kScales,
    vScales,
    codeBytes,
    scaleBytes,
    layerBytes,
    pageBytes,
    bytesPerToken: pageBytes / spec.pageTokens,
  };
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
