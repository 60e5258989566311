import { writeFileSync } from "node:fs";
import { replaceFile } from "@kvant/checkpoint";

/** `replaceFile` with a text. The system's errors come through as they are. */
export function replaceTextFile(path: string, text: string): void {
  replaceFile(path, (descriptor) => writeFileSync(descriptor, text));
}
