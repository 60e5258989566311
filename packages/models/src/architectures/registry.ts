import { KvantError } from "@kvant/core";
import type { Architecture } from "./architecture.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";

/** Every architecture. Adding one is a file and a row here. */
export const architectures: readonly Architecture[] = [llama, mistral, qwen2, qwen3];

/**
 * The architecture of that class name.
 * @throws KvantError ARCHITECTURE_UNKNOWN, listing the names
 */
export function architecture(name: string): Architecture {
  const known = architectures.find((each) => each.name === name);
  if (known !== undefined) return known;
  const names = architectures.map((each) => each.name).join(", ");
  throw new KvantError("ARCHITECTURE_UNKNOWN", `no architecture is called "${name}"; there are ${names}`, {
    field: "architectures",
  });
}
