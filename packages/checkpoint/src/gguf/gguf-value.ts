/** A metadata value with its type in the file; arrays hold one type. */
export type GgufValue =
  | { readonly type: "uint32" | "int32" | "float32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "int32s" | "float32s"; readonly values: readonly number[] }
  | { readonly type: "strings"; readonly values: readonly string[] };

// Numbers of the value types in the file.
const uint32 = 4;
const int32 = 5;
const float32 = 6;
const bool = 7;
const string = 8;
const array = 9;

/** Key, type and value as they stand in the file. */
export function encodeGgufEntry(key: string, value: GgufValue): Uint8Array {
  return Buffer.concat([encodeText(key), ...encodeValue(value)]);
}

function encodeValue(value: GgufValue): readonly Uint8Array[] {
  switch (value.type) {
    case "uint32":
      return [word(uint32), word(value.value)];
    case "int32":
      return [word(int32), integers([value.value])];
    case "float32":
      return [word(float32), floats([value.value])];
    case "bool":
      return [word(bool), Uint8Array.of(value.value ? 1 : 0)];
    case "string":
      return [word(string), encodeText(value.value)];
    case "int32s":
      return [word(array), word(int32), long(value.values.length), integers(value.values)];
    case "float32s":
      return [word(array), word(float32), long(value.values.length), floats(value.values)];
    case "strings":
      return [word(array), word(string), long(value.values.length), ...value.values.map(encodeText)];
    default:
      return value satisfies never;
  }
}

/** A 64-bit length, then UTF-8. */
function encodeText(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return Buffer.concat([long(bytes.length), bytes]);
}

function word(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function long(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function integers(values: readonly number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(values).buffer);
}

function floats(values: readonly number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}
