import {
  absMaxScale,
  type CodeArray,
  decodeArray,
  encodeArray,
  type Format,
  formats,
  type PageLayout,
  pageLayout,
} from "@kvant/formats";
import type { KvGroup } from "../plan.ts";

/** Which of the two a page part holds. */
export type KeyOrValue = "k" | "v";

/** Where one token's K and V of one layer lie. */
export interface TokenPlace {
  readonly layer: number;
  readonly page: number;
  /** Token inside the page. */
  readonly offset: number;
}

/** The pages of one KV group, byte for byte in the layout of `pageLayout`. */
export class PageMemory {
  readonly group: KvGroup;
  readonly layout: PageLayout;
  readonly #bytes: ArrayBuffer; // [pageCount, pageBytes]
  readonly #hostBytes: ArrayBuffer; // [hostPageCount, pageBytes]
  readonly #format: Format;

  constructor(group: KvGroup, pageTokens: number, pageCount: number, hostPageCount = 0) {
    const { layerCount, kvHeads, headDim, format, scales } = group;
    this.group = group;
    this.layout = pageLayout({ layerCount, kvHeads, headDim, pageTokens, format, scales: scales.kind });
    this.#format = formats[format];
    this.#bytes = new ArrayBuffer(pageCount * this.layout.pageBytes);
    this.#hostBytes = new ArrayBuffer(hostPageCount * this.layout.pageBytes);
  }

  get byteLength(): number {
    return this.#bytes.byteLength;
  }

  /** A copy of one page. */
  page(page: number): Uint8Array {
    return this.#view(this.#bytes, page).slice();
  }

  copyPage(from: number, to: number): void {
    this.#view(this.#bytes, to).set(this.#view(this.#bytes, from));
  }

  swapOut(page: number, hostPage: number): void {
    this.#view(this.#hostBytes, hostPage).set(this.#view(this.#bytes, page));
  }

  swapIn(page: number, hostPage: number): void {
    this.#view(this.#bytes, page).set(this.#view(this.#hostBytes, hostPage));
  }

  /**
   * Stores one head of one token; returns the number of values that a static scale clips. AbsMax scales are per token and
   * head: scale = absmax / max, code = encode(x / scale), both float32; a head of zeros has scale 0.
   */
  write(part: KeyOrValue, place: TokenPlace, kvHead: number, values: Float32Array): number {
    const codes = this.#codes(part, place, kvHead);
    const { scales } = this.group;
    if (scales.kind === "none") {
      encodeArray(this.#format.name, values, codes);
      return 0;
    }
    const { max } = this.#format;
    let scale: number;
    if (scales.kind === "token-head") {
      scale = absMaxScale(values, 0, values.length, this.#format);
      this.#scale(part, place, kvHead)[0] = scale;
    } else {
      scale = this.#staticScale(part, place.layer, kvHead);
    }
    let clipped = 0;
    const quotients = values.map((value) => {
      const quotient = scale === 0 ? 0 : Math.fround(value / scale);
      if (Math.abs(quotient) > max) clipped += 1;
      return Math.max(-max, Math.min(max, quotient));
    });
    encodeArray(this.#format.name, quotients, codes);
    return scales.kind === "token-head" ? 0 : clipped;
  }

  /** Reads one head of one token into `out` `[headDim]`. */
  read(part: KeyOrValue, place: TokenPlace, kvHead: number, out: Float32Array): void {
    decodeArray(this.#format.name, this.#codes(part, place, kvHead), out);
    const { kind } = this.group.scales;
    if (kind === "none") return;
    const scale =
      kind === "token-head" ? this.#scale(part, place, kvHead)[0]! : this.#staticScale(part, place.layer, kvHead);
    for (let i = 0; i < out.length; i++) out[i] = out[i]! * scale;
  }

  #view(bytes: ArrayBuffer, page: number): Uint8Array {
    const { pageBytes } = this.layout;
    return new Uint8Array(bytes, page * pageBytes, pageBytes);
  }

  #codes(part: KeyOrValue, place: TokenPlace, kvHead: number): CodeArray {
    const { headDim, pageTokens, kCodes, vCodes } = this.layout;
    const bytes = this.#format.bits / 8;
    const start =
      this.#layerStart(place) +
      (part === "k" ? kCodes : vCodes) +
      (kvHead * pageTokens + place.offset) * headDim * bytes;
    if (bytes === 4) return new Uint32Array(this.#bytes, start, headDim);
    if (bytes === 2) return new Uint16Array(this.#bytes, start, headDim);
    return new Uint8Array(this.#bytes, start, headDim);
  }

  #scale(part: KeyOrValue, place: TokenPlace, kvHead: number): Float32Array {
    const { pageTokens, kScales, vScales } = this.layout;
    const start =
      this.#layerStart(place) + (part === "k" ? kScales : vScales) + (kvHead * pageTokens + place.offset) * 4;
    return new Float32Array(this.#bytes, start, 1);
  }

  #staticScale(part: KeyOrValue, layer: number, kvHead: number): number {
    const { scales, kvHeads } = this.group;
    if (scales.kind === "head") return scales[part][layer * kvHeads + kvHead]!;
    if (scales.kind === "tensor") return scales[part][layer]!;
    return 1;
  }

  #layerStart({ layer, page }: TokenPlace): number {
    return page * this.layout.pageBytes + layer * this.layout.layerBytes;
  }
}
