import { KvantError } from "@kvant/core";
import { absMaxScale, type CodeArray, type Format, formats, type PageLayout } from "@kvant/formats";

/** Calibrated scales of K and V, float32: `[layerCount, kvHeads]` for `head`, `[layerCount]` for `tensor`. */
export interface StaticScales {
  readonly k: Float32Array;
  readonly v: Float32Array;
}

export interface ArrayPagesOptions {
  readonly layout: PageLayout;
  /** Pages, the reserved page 0 included. */
  readonly pageCount: number;
  /** Exactly when `layout.scales` is `head` or `tensor`. */
  readonly scales?: StaticScales;
}

type Part = "k" | "v";

/**
 * Pages of one layer group in one ArrayBuffer, written and read token by token in the byte layout that every backend uses.
 * Slow and obvious: the store of the reference and an oracle for the others.
 *
 * 8-bit codes: `code = encode(clamp(x / scale, -max, max))` and `value = decode(code) * scale`, each operation rounded to
 * float32. With `token-head` the scale of a vector is `max|x| / max` (0, and zero codes, where that is 0); static scales are
 * given, and what they clip is counted. Values are expected to be finite.
 */
export class ArrayPages {
  readonly layout: PageLayout;
  readonly pageCount: number;
  /** All pages, `[pageCount, pageBytes]`. */
  readonly bytes: Uint8Array;
  readonly #format: Format;
  readonly #codes: CodeArray; // the bytes, seen as codes of the format
  readonly #scales: Float32Array; // the bytes, seen as scales
  readonly #staticScales: StaticScales | undefined;
  #saturationCount = 0;

  /**
   * @throws INVALID_ARGUMENT for an impossible page count or static scales of the wrong shape
   * @throws SCALE_MISSING when the layout says static scales and none are given
   */
  constructor({ layout, pageCount, scales }: ArrayPagesOptions) {
    if (!Number.isInteger(pageCount) || pageCount < 1) {
      throw new KvantError("INVALID_ARGUMENT", `pageCount is ${pageCount}; it must be a positive integer`);
    }
    checkStaticScales(layout, scales);
    const buffer = new ArrayBuffer(pageCount * layout.pageBytes);
    this.layout = layout;
    this.pageCount = pageCount;
    this.bytes = new Uint8Array(buffer);
    this.#format = formats[layout.format];
    this.#codes = codesOf(this.#format, buffer);
    this.#scales = new Float32Array(buffer);
    this.#staticScales = scales;
  }

  /** Elements of K or V that a static scale has clipped so far. */
  get saturationCount(): number {
    return this.#saturationCount;
  }

  /**
   * Stores one token of one layer. K is given after RoPE.
   * @param slot the token's place in its page, `0 <= slot < pageTokens`.
   * @param k [kvHeads, headDim]
   * @param v [kvHeads, headDim]
   */
  append(page: number, layer: number, slot: number, k: Float32Array, v: Float32Array): void {
    const { kvHeads, headDim } = this.layout;
    for (const [name, values] of [["k", k] as const, ["v", v] as const]) {
      if (values.length !== kvHeads * headDim) {
        const sentence = `${name} has ${values.length} values; ${kvHeads} heads of ${headDim} are ${kvHeads * headDim}`;
        throw new KvantError("INVALID_ARGUMENT", sentence);
      }
      for (let head = 0; head < kvHeads; head++) {
        this.#write(name, page, layer, head, slot, values.subarray(head * headDim, (head + 1) * headDim));
      }
    }
  }

  /** The stored K of one token and KV head, [headDim]. */
  readK(page: number, layer: number, head: number, slot: number): Float32Array {
    return this.#read("k", page, layer, head, slot);
  }

  /** The stored V of one token and KV head, [headDim]. */
  readV(page: number, layer: number, head: number, slot: number): Float32Array {
    return this.#read("v", page, layer, head, slot);
  }

  /** What one multiplies the stored codes by; 1 for the formats that have no scales. */
  scaleOf(part: Part, page: number, layer: number, head: number, slot: number): number {
    if (this.layout.scales === "none") return 1;
    const fixed = this.#staticScales?.[part];
    if (fixed !== undefined)
      return fixed[this.layout.scales === "tensor" ? layer : layer * this.layout.kvHeads + head]!;
    return this.#scales[this.#scaleIndex(part, page, layer, head, slot)]!;
  }

  /** Copies a whole page, scales and all layers included: copy-on-write of a fork. */
  copyPage(from: number, to: number): void {
    this.#checkRange("page", from, this.pageCount);
    this.#checkRange("page", to, this.pageCount);
    const { pageBytes } = this.layout;
    this.bytes.copyWithin(to * pageBytes, from * pageBytes, (from + 1) * pageBytes);
  }

  #write(part: Part, page: number, layer: number, head: number, slot: number, values: Float32Array): void {
    const start = this.#codeIndex(part, page, layer, head, slot);
    const { headDim, scales } = this.layout;
    const format = this.#format;
    if (scales === "none") {
      format.encodeInto(values, this.#codes.subarray(start, start + headDim));
      return;
    }
    let scale: number;
    if (scales === "token-head") {
      scale = absMaxScale(values, 0, headDim, format);
      this.#scales[this.#scaleIndex(part, page, layer, head, slot)] = scale;
    } else {
      scale = this.scaleOf(part, page, layer, head, slot);
    }
    for (let i = 0; i < headDim; i++) {
      if (scale === 0) {
        this.#codes[start + i] = 0;
        continue;
      }
      const scaled = Math.fround(values[i]! / scale);
      const clamped = Math.min(format.max, Math.max(-format.max, scaled));
      if (clamped !== scaled && scales !== "token-head") this.#saturationCount++;
      this.#codes[start + i] = format.encode(clamped);
    }
  }

  #read(part: Part, page: number, layer: number, head: number, slot: number): Float32Array {
    const start = this.#codeIndex(part, page, layer, head, slot);
    const values = new Float32Array(this.layout.headDim);
    this.#format.decodeInto(this.#codes.subarray(start, start + values.length), values);
    if (this.layout.scales !== "none") {
      const scale = this.scaleOf(part, page, layer, head, slot);
      for (let i = 0; i < values.length; i++) values[i]! *= scale;
    }
    return values;
  }

  /** Index into the codes of element 0 of a vector: `[kvHeads, pageTokens, headDim]` inside its part. */
  #codeIndex(part: Part, page: number, layer: number, head: number, slot: number): number {
    this.#checkRange("page", page, this.pageCount);
    this.#checkRange("layer", layer, this.layout.layerCount);
    this.#checkRange("head", head, this.layout.kvHeads);
    this.#checkRange("slot", slot, this.layout.pageTokens);
    const { pageBytes, layerBytes, kCodes, vCodes, pageTokens, headDim } = this.layout;
    const partStart = page * pageBytes + layer * layerBytes + (part === "k" ? kCodes : vCodes);
    return partStart / this.#codes.BYTES_PER_ELEMENT + (head * pageTokens + slot) * headDim;
  }

  /** Index into the scales of a vector's scale: `[kvHeads, pageTokens]` inside its part. */
  #scaleIndex(part: Part, page: number, layer: number, head: number, slot: number): number {
    const { pageBytes, layerBytes, kScales, vScales, pageTokens } = this.layout;
    const partStart = page * pageBytes + layer * layerBytes + (part === "k" ? kScales : vScales);
    return partStart / this.#scales.BYTES_PER_ELEMENT + head * pageTokens + slot;
  }

  #checkRange(name: string, value: number, end: number): void {
    if (Number.isInteger(value) && value >= 0 && value < end) return;
    throw new KvantError("INVALID_ARGUMENT", `${name} ${value} is outside 0..${end - 1}`);
  }
}

function codesOf({ bits }: Format, buffer: ArrayBuffer): CodeArray {
  if (bits === 32) return new Uint32Array(buffer);
  return bits === 16 ? new Uint16Array(buffer) : new Uint8Array(buffer);
}

function checkStaticScales(layout: PageLayout, given: StaticScales | undefined): void {
  const { scales, layerCount, kvHeads } = layout;
  if (scales !== "head" && scales !== "tensor") {
    if (given === undefined) return;
    throw new KvantError("INVALID_ARGUMENT", `static scales are given, but the layout says "${scales}"`);
  }
  if (given === undefined) {
    throw new KvantError("SCALE_MISSING", `the layout says one static scale per ${scales}, and none are given`);
  }
  const count = scales === "head" ? layerCount * kvHeads : layerCount;
  for (const part of ["k", "v"] as const) {
    const found = given[part];
    if (found.length !== count) {
      throw new KvantError("INVALID_ARGUMENT", `${found.length} static ${part} scales for ${count} ${scales} scales`);
    }
    const bad = found.findIndex((scale) => !(scale > 0 && Number.isFinite(scale)));
    if (bad >= 0)
      throw new KvantError("INVALID_ARGUMENT", `static ${part} scale ${bad} is ${found[bad]}; it must be positive`);
  }
}
