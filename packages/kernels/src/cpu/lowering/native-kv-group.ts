import { pageLayout } from "@kvant/formats";
import type { KvGroup } from "../../plan.ts";
import type { NativeKvGroup } from "../native-addon.ts";

/** A KV group with its page layout; static scales spread to one per layer and head. */
export function nativeKvGroup(
  group: KvGroup,
  pageTokens: number,
  pageCount: number,
  hostPageCount: number,
): NativeKvGroup {
  const { layerCount, kvHeads, headDim, window, format, scales } = group;
  const layout = pageLayout({ layerCount, kvHeads, headDim, pageTokens, format, scales: scales.kind });
  const spread = (part: "k" | "v"): Float32Array => {
    if (scales.kind === "head") return scales[part].slice();
    if (scales.kind !== "tensor") return new Float32Array();
    return Float32Array.from({ length: layerCount * kvHeads }, (_, i) => scales[part][Math.floor(i / kvHeads)]!);
  };
  return {
    layerCount,
    kvHeads,
    headDim,
    window: window ?? 0,
    format,
    pageTokens,
    pageCount,
    hostPageCount,
    pageBytes: layout.pageBytes,
    layerBytes: layout.layerBytes,
    kCodes: layout.kCodes,
    vCodes: layout.vCodes,
    kScales: layout.kScales,
    vScales: layout.vScales,
    kStatic: spread("k"),
    vStatic: spread("v"),
  };
}
