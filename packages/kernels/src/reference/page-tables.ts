/** The page tables of one KV group: one row of page numbers per row slot. */
export class PageTables {
  readonly #pageTokens: number;
  readonly #stride: number;
  readonly #pages: Int32Array; // [slots, stride]

  constructor(slotCount: number, contextLength: number, pageTokens: number) {
    this.#pageTokens = pageTokens;
    this.#stride = Math.ceil(contextLength / pageTokens);
    this.#pages = new Int32Array(slotCount * this.#stride);
  }

  clear(slot: number): void {
    this.#pages.fill(0, slot * this.#stride, (slot + 1) * this.#stride);
  }

  set(slot: number, index: number, page: number): void {
    this.#pages[slot * this.#stride + index] = page;
  }

  /** Where the token at a position of a slot's sequence lies. */
  place(slot: number, position: number, layer: number): { layer: number; page: number; offset: number } {
    const index = Math.floor(position / this.#pageTokens);
    return { layer, page: this.#pages[slot * this.#stride + index]!, offset: position % this.#pageTokens };
  }
}
