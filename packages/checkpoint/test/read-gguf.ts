// A GGUF reader of its own, sharing nothing with the writer: the whole file in memory, no limits, for trusted files.
export interface ReadTensor {
  readonly type: number;
  /** As the file states it: the fastest dimension first. */
  readonly dimensions: readonly number[];
  readonly data: Uint8Array;
}

export function readGguf(file: Uint8Array): {
  readonly metadata: ReadonlyMap<string, unknown>;
  readonly tensors: ReadonlyMap<string, ReadTensor>;
} {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = 0;
  const skip = (bytes: number) => {
    at += bytes;
    return at - bytes;
  };
  const u32 = () => view.getUint32(skip(4), true);
  const u64 = () => Number(view.getBigUint64(skip(8), true));
  const text = () => {
    const length = u64();
    return new TextDecoder("utf-8", { fatal: true }).decode(file.subarray(skip(length), at));
  };
  const readers: Record<number, () => unknown> = {
    0: () => view.getUint8(skip(1)),
    1: () => view.getInt8(skip(1)),
    2: () => view.getUint16(skip(2), true),
    3: () => view.getInt16(skip(2), true),
    4: u32,
    5: () => view.getInt32(skip(4), true),
    6: () => view.getFloat32(skip(4), true),
    7: () => view.getUint8(skip(1)) === 1,
    8: text,
    9: () => {
      const read = readers[u32()]!;
      return Array.from({ length: u64() }, () => read());
    },
    10: u64,
    12: () => view.getFloat64(skip(8), true),
  };
  if (u32() !== 0x46554747) throw new Error("no GGUF file");
  if (u32() !== 3) throw new Error("not version 3");
  const [tensorCount, entryCount] = [u64(), u64()];
  const metadata = new Map<string, unknown>();
  for (let i = 0; i < entryCount; i++) metadata.set(text(), readers[u32()]!());
  const infos = Array.from({ length: tensorCount }, () => ({
    name: text(),
    dimensions: Array.from({ length: u32() }, u64),
    type: u32(),
    offset: u64(),
  }));
  const alignment = Number(metadata.get("general.alignment") ?? 32);
  const start = Math.ceil(at / alignment) * alignment;
  const tensors = new Map<string, ReadTensor>();
  for (const { name, dimensions, type, offset } of infos) {
    if (offset % alignment !== 0) throw new Error(`${name} is not aligned`);
    const bytes = dimensions.reduce((product, size) => product * size, 1) * bytesPerValue[type]!;
    if (start + offset + bytes > file.length) throw new Error(`${name} leaves the file`);
    tensors.set(name, { type, dimensions, data: file.subarray(start + offset, start + offset + bytes) });
  }
  return { metadata, tensors };
}

const bytesPerValue: Readonly<Record<number, number>> = { 0: 4, 1: 2, 2: 18 / 32, 8: 34 / 32 };

/** Values of Q4_0 (type 2) and Q8_0 (type 8) blocks, by the formulas of the format's documents. */
export function dequantizeBlocks(type: number, data: Uint8Array): Float32Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const blockBytes = type === 2 ? 18 : 34;
  const values = new Float32Array((data.length / blockBytes) * 32);
  for (let block = 0; block * blockBytes < data.length; block++) {
    const at = block * blockBytes;
    const scale = halfToNumber(view.getUint16(at, true));
    for (let i = 0; i < 32; i++) {
      const byte = view.getUint8(at + 2 + (i % 16));
      const code = type === 8 ? view.getInt8(at + 2 + i) : (i < 16 ? byte & 15 : byte >> 4) - 8;
      values[block * 32 + i] = scale * code;
    }
  }
  return values;
}

function halfToNumber(half: number): number {
  const [sign, exponent, fraction] = [half >> 15 ? -1 : 1, (half >> 10) & 31, half & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
