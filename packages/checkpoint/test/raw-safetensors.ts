import { writeFileSync } from "node:fs";

/** Bytes of a safetensors file from any header text and data, true or lying; `claimed` overrides the header's length. */
export function rawSafetensors(
  header: string | Uint8Array,
  data: Uint8Array = new Uint8Array(),
  claimed?: bigint,
): Uint8Array {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, claimed ?? BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

/** Writes such a file and returns its path. */
export function writeRaw(path: string, ...contents: Parameters<typeof rawSafetensors>): string {
  writeFileSync(path, rawSafetensors(...contents));
  return path;
}
