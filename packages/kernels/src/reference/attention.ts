import { absMaxScale, type Format, formats } from "@kvant/formats";
import type { PageMemory } from "./page-memory.ts";
import type { PageTables } from "./page-tables.ts";
import type { StepTokens } from "./step-tokens.ts";

/**
 * out[t, h] = sum_p softmax_p(scale * q[t, h] . K[p]) V[p] over the stored positions p that token t sees: its own and all
 * before it, within the window. Query head h reads KV head floor(h / (heads / kvHeads)). K and V always come from the
 * pages, also those of tokens of the same step.
 *
 * Over INT8 pages the query is INT8 too: quantized once per token and head, AbsMax and symmetric like K, so that backends
 * may take q . K from the codes in exact integer dot products. The noise this adds is that of INT8 K once more.
 */
export function attention(
  q: Float32Array, // [T, heads * headDim]
  attributes: { readonly heads: number; readonly scale: number; readonly layer: number },
  tokens: StepTokens,
  memory: PageMemory,
  tables: PageTables,
  out: Float32Array, // as q
): void {
  const { heads, scale, layer } = attributes;
  const { kvHeads, headDim, window } = memory.group;
  const headsPerKvHead = heads / kvHeads;
  for (const { slot, first, last } of rowsOf(tokens)) {
    const lastPosition = tokens.positions[last]!;
    const firstPosition = window === undefined ? 0 : Math.max(0, tokens.positions[first]! - window + 1);
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      const keys = gather("k", slot, firstPosition, lastPosition, kvHead);
      const values = gather("v", slot, firstPosition, lastPosition, kvHead);
      for (let token = first; token <= last; token++) {
        const position = tokens.positions[token]!;
        const seen = window === undefined ? 0 : Math.max(0, position - window + 1);
        for (let head = kvHead * headsPerKvHead; head < (kvHead + 1) * headsPerKvHead; head++) {
          const start = (token * heads + head) * headDim;
          const query = q.subarray(start, start + headDim);
          attend(
            memory.group.format === "int8" ? roundedTo(formats.int8, query) : query,
            scale,
            keys.subarray((seen - firstPosition) * headDim, (position + 1 - firstPosition) * headDim),
            values.subarray((seen - firstPosition) * headDim, (position + 1 - firstPosition) * headDim),
            out.subarray(start, start + headDim),
          );
        }
      }
    }
  }

  /** One KV head of the positions first to last, `[positions, headDim]`. */
  function gather(part: "k" | "v", slot: number, first: number, last: number, kvHead: number): Float32Array {
    const gathered = new Float32Array((last - first + 1) * headDim);
    for (let position = first; position <= last; position++) {
      const start = (position - first) * headDim;
      memory.read(part, tables.place(slot, position, layer), kvHead, gathered.subarray(start, start + headDim));
    }
    return gathered;
  }
}

/** Values as their AbsMax codes stand for: `code * scale`, in double precision. */
function roundedTo(format: Format, values: Float32Array): Float64Array {
  const scale = absMaxScale(values, 0, values.length, format);
  return Float64Array.from(values, (value) =>
    scale === 0 ? 0 : format.decode(format.encode(Math.fround(value / scale))) * scale,
  );
}

/** One query over `[positions, headDim]` keys and values. */
function attend(
  q: Float32Array | Float64Array,
  scale: number,
  keys: Float32Array,
  values: Float32Array,
  out: Float32Array,
): void {
  const headDim = q.length;
  const weights = new Float64Array(keys.length / headDim);
  let largest = -Infinity;
  for (let p = 0; p < weights.length; p++) {
    let dot = 0;
    for (let i = 0; i < headDim; i++) dot += q[i]! * keys[p * headDim + i]!;
    weights[p] = dot * scale;
    largest = Math.max(largest, weights[p]!);
  }
  let total = 0;
  for (let p = 0; p < weights.length; p++) {
    weights[p] = Math.exp(weights[p]! - largest);
    total += weights[p]!;
  }
  for (let i = 0; i < headDim; i++) {
    let sum = 0;
    for (let p = 0; p < weights.length; p++) sum += weights[p]! * values[p * headDim + i]!;
    out[i] = sum / total;
  }
}

/** The runs of tokens that belong to one row. */
function* rowsOf(tokens: StepTokens): Generator<{ slot: number; first: number; last: number }> {
  const count = tokens.slots.length;
  for (let first = 0; first < count; ) {
    const slot = tokens.slots[first]!;
    let last = first;
    while (last + 1 < count && tokens.slots[last + 1] === slot) last += 1;
    yield { slot, first, last };
    first = last + 1;
  }
}
