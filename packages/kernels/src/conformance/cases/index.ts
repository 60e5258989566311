import type { ConformanceCase } from "../conformance-case.ts";
import { attentionCases } from "./attention.ts";
import { decoderCases } from "./decoder.ts";
import { elementwiseCases } from "./elementwise.ts";
import { kvWriteCases } from "./kv-write.ts";
import { linearCases } from "./linear.ts";
import { linearCodesCases } from "./linear-codes.ts";
import { rmsNormCases } from "./rms-norm.ts";

/** Every case, by op. */
export const conformanceCases: readonly { readonly op: string; readonly cases: readonly ConformanceCase[] }[] = [
  { op: "elementwise", cases: elementwiseCases },
  { op: "rmsNorm", cases: rmsNormCases },
  { op: "linear", cases: linearCases },
  { op: "linear from codes", cases: linearCodesCases },
  { op: "kvWrite", cases: kvWriteCases },
  { op: "attention", cases: attentionCases },
  { op: "decoder", cases: decoderCases },
];
