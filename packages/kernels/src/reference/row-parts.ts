import { KvantError } from "@kvant/core";
import { groupsPerRow } from "@kvant/formats";
import type { PlanWeight } from "../plan.ts";
import type { ReferenceMatrix } from "./reference-weight.ts";

/** Gathers a matrix whose rows arrive in parts, in any order. */
export class RowParts {
  readonly #name: string;
  readonly #whole: ReferenceMatrix;
  readonly #arrived: Uint8Array; // [rows]
  #missing: number;

  /** `part` shows which of its arrays the matrix has. */
  constructor({ name, rows, cols }: PlanWeight, part: ReferenceMatrix) {
    this.#name = name;
    this.#arrived = new Uint8Array(rows);
    this.#missing = rows;
    const values = new Float32Array(rows * cols);
    if (part.kind === "values") {
      this.#whole = { kind: "values", rows, cols, values };
      return;
    }
    const { groupSize } = part;
    const scales = new Float32Array(rows * groupsPerRow(groupSize, cols));
    this.#whole = { kind: "codes", rows, cols, values, codes: new Int16Array(rows * cols), scales, groupSize };
  }

  /**
   * Takes rows `firstRow ..`; returns the matrix with the last of them.
   * @throws KvantError TENSOR_SHAPE when a row arrives twice
   */
  add(firstRow: number, part: ReferenceMatrix): ReferenceMatrix | undefined {
    const rows = this.#arrived.subarray(firstRow, firstRow + part.rows);
    const again = rows.indexOf(1);
    if (again !== -1) throw new KvantError("TENSOR_SHAPE", `"${this.#name}": row ${firstRow + again} arrived twice`);
    const whole = this.#whole;
    whole.values.set(part.values, firstRow * part.cols);
    if (whole.kind === "codes" && part.kind === "codes") {
      whole.codes.set(part.codes, firstRow * part.cols);
      whole.scales.set(part.scales, (firstRow * part.scales.length) / part.rows);
    }
    rows.fill(1);
    this.#missing -= part.rows;
    return this.#missing === 0 ? whole : undefined;
  }
}
