import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../fixtures/", import.meta.url));

export function fixture(name: string): Buffer {
  return readFileSync(`${folder}${name}.sse`);
}

export function fixtureNames(): readonly string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".sse"))
    .map((file) => file.slice(0, -4))
    .sort();
}

/** In pieces of so many bytes, as TCP may cut. */
export function cut(bytes: Buffer, size: number): readonly Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}
