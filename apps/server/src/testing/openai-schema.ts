import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Schema from "typebox/schema";

// Test data lies beside the repository; KVANT_SHARED names another folder that holds `data`.
const root = process.env.KVANT_SHARED ?? fileURLToPath(new URL("../../../../../shared", import.meta.url));
const path = join(root, "data/api/openai-openapi.json");

/** Why tests against OpenAI's API description cannot run; undefined where they can. */
export const openAiSchemaAbsence = existsSync(path)
  ? undefined
  : `SKIPPED: OpenAI's API description is not at ${path} (set KVANT_SHARED)`;

let components: unknown;

/** Checks a value against one of OpenAI's component schemas; the answer lists what does not match. */
export function openAiFaults(schemaName: string, value: unknown): readonly string[] {
  components ??= withoutNullable(JSON.parse(readFileSync(path, "utf8"))).components;
  const schema = { $ref: `#/components/schemas/${schemaName}`, components };
  const [matches, errors] = Schema.Errors(schema, value);
  return matches ? [] : errors.map(({ instancePath, message }) => `${instancePath} ${message}`);
}

/** `nullable`, a keyword of OpenAPI 3.0 that the description still uses, as JSON Schema says it. */
function withoutNullable<Node>(node: Node): Node {
  if (Array.isArray(node)) return node.map(withoutNullable) as Node;
  if (typeof node !== "object" || node === null) return node;
  const { nullable, ...rest } = node as Record<string, unknown>;
  const inner = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, withoutNullable(value)]));
  return (nullable === true ? { anyOf: [inner, { type: "null" }] } : inner) as Node;
}
