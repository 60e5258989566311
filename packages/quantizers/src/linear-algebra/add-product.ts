import { acceleration } from "../acceleration.ts";
import type { MatrixView } from "./matrix-view.ts";

/** Operands of `addProduct`. */
export interface Product {
  readonly target: MatrixView<Float64Array>; // [rows, cols]
  readonly left: MatrixView; // [rows, depth]
  readonly right: MatrixView; // [depth, cols]
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  readonly sign: 1 | -1;
  /** Leaves out tiles of 64 x 64 that lie wholly above the diagonal of `target`; what lies above it in the others is arbitrary. */
  readonly lowerOnly?: boolean;
}

// Packed tiles of both operands take 2 * 64 * 256 * 8 bytes = 256 kB and stay in the second-level cache. Sixteen sums are as
// many as the registers and a hot stack line hold; V8 emits scalar code, which runs this loop at some 3.4 Gflop/s.
const tileSide = 64;
const tileDepth = 256;
const unit = 4;

// Multiplications below which a call into an acceleration takes longer than the product: at 2 us and 3.4 Gflop/s.
const leastAccelerated = 4096;

/**
 * `target += sign * left . right` in float64. The sum of an element runs over depth in tiles of 256, first to last, and is
 * added to the target tile by tile; that order depends on the shapes alone, and so do the bits. The target shares no element
 * with the operands.
 */
export function addProduct(product: Product): void {
  const accelerated = acceleration().addProduct;
  const { rows, cols, depth } = product;
  if (accelerated !== undefined && rows * cols * depth >= leastAccelerated) accelerated(product);
  else addProductHere(product);
}

function addProductHere({ target, left, right, rows, cols, depth, sign, lowerOnly = false }: Product): void {
  const packedDepth = Math.min(tileDepth, depth);
  const packedLeft = new Float64Array(packedDepth * Math.min(tileSide, rows + unit - 1));
  const packedRight = new Float64Array(packedDepth * Math.min(tileSide, cols + unit - 1));
  const sums = new Float64Array(unit * unit);
  for (let p = 0; p < depth; p += tileDepth) {
    const tileDepthHere = Math.min(tileDepth, depth - p);
    for (let i = 0; i < rows; i += tileSide) {
      const tileRows = Math.min(tileSide, rows - i);
      pack(left, left.rowStride, left.colStride, i, p, tileRows, tileDepthHere, packedLeft);
      const colsHere = lowerOnly ? Math.min(cols, i + tileRows) : cols;
      for (let j = 0; j < colsHere; j += tileSide) {
        const tileCols = Math.min(tileSide, cols - j);
        pack(right, right.colStride, right.rowStride, j, p, tileCols, tileDepthHere, packedRight);
        for (let row = 0; row < tileRows; row += unit) {
          for (let col = 0; col < tileCols; col += unit) {
            multiplyUnit(packedLeft, row * tileDepthHere, packedRight, col * tileDepthHere, tileDepthHere, sums);
            addUnit(
              target,
              i + row,
              j + col,
              Math.min(unit, tileRows - row),
              Math.min(unit, tileCols - col),
              sums,
              sign,
            );
          }
        }
      }
    }
  }
}

/** Copies [count, depth] as strips of four: [ceil(count / 4), depth, 4], the last strip filled up with zeros. */
function pack(
  { data, offset }: MatrixView,
  countStride: number,
  depthStride: number,
  firstCount: number,
  firstDepth: number,
  count: number,
  depth: number,
  packed: Float64Array,
): void {
  const start = offset + firstCount * countStride + firstDepth * depthStride;
  for (let strip = 0; strip < count; strip += unit) {
    for (let lane = 0; lane < unit; lane++) {
      let to = strip * depth + lane;
      if (strip + lane >= count) {
        for (let p = 0; p < depth; p++, to += unit) packed[to] = 0;
        continue;
      }
      let from = start + (strip + lane) * countStride;
      for (let p = 0; p < depth; p++, to += unit, from += depthStride) packed[to] = data[from]!;
    }
  }
}

/** `sums[4 i + j] = sum_p a[p, i] b[p, j]` of two strips [depth, 4]. */
function multiplyUnit(
  a: Float64Array,
  aStart: number,
  b: Float64Array,
  bStart: number,
  depth: number,
  sums: Float64Array, // [4, 4]
): void {
  let [s00, s01, s02, s03] = [0, 0, 0, 0];
  let [s10, s11, s12, s13] = [0, 0, 0, 0];
  let [s20, s21, s22, s23] = [0, 0, 0, 0];
  let [s30, s31, s32, s33] = [0, 0, 0, 0];
  for (let p = 0, i = aStart, j = bStart; p < depth; p++, i += unit, j += unit) {
    const a0 = a[i]!;
    const a1 = a[i + 1]!;
    const a2 = a[i + 2]!;
    const a3 = a[i + 3]!;
    const b0 = b[j]!;
    const b1 = b[j + 1]!;
    const b2 = b[j + 2]!;
    const b3 = b[j + 3]!;
    s00 += a0 * b0;
    s01 += a0 * b1;
    s02 += a0 * b2;
    s03 += a0 * b3;
    s10 += a1 * b0;
    s11 += a1 * b1;
    s12 += a1 * b2;
    s13 += a1 * b3;
    s20 += a2 * b0;
    s21 += a2 * b1;
    s22 += a2 * b2;
    s23 += a2 * b3;
    s30 += a3 * b0;
    s31 += a3 * b1;
    s32 += a3 * b2;
    s33 += a3 * b3;
  }
  sums[0] = s00;
  sums[1] = s01;
  sums[2] = s02;
  sums[3] = s03;
  sums[4] = s10;
  sums[5] = s11;
  sums[6] = s12;
  sums[7] = s13;
  sums[8] = s20;
  sums[9] = s21;
  sums[10] = s22;
  sums[11] = s23;
  sums[12] = s30;
  sums[13] = s31;
  sums[14] = s32;
  sums[15] = s33;
}

function addUnit(
  { data, offset, rowStride, colStride }: MatrixView<Float64Array>,
  row: number,
  col: number,
  rows: number,
  cols: number,
  sums: Float64Array, // [4, 4]
  sign: number,
): void {
  for (let i = 0; i < rows; i++) {
    let at = offset + (row + i) * rowStride + col * colStride;
    for (let j = 0; j < cols; j++, at += colStride) data[at]! += sign * sums[i * unit + j]!;
  }
}
