import { isRecord } from "./json-file.ts";

const methods = ["strip", "lstrip", "rstrip"] as const;
type Method = (typeof methods)[number];

/** A name that no template can spell, so it hides no variable. */
const functionName = (method: Method): string => `${method} characters`;

/**
 * Rewrites `text.lstrip(characters)` in a parsed template to a call of our own function, because the Jinja library ignores
 * the characters and strips all white space: Qwen's templates then lose the indentation of a reply. Calls without an
 * argument stay with the library.
 */
export function honorStripCharacters(node: unknown): void {
  if (Array.isArray(node)) {
    for (const each of node) honorStripCharacters(each);
    return;
  }
  if (!isRecord(node)) return;
  for (const child of Object.values(node)) honorStripCharacters(child);
  const { callee, args } = node;
  if (node.type !== "CallExpression" || !Array.isArray(args) || args.length !== 1) return;
  if (!isRecord(callee) || callee.type !== "MemberExpression" || callee.computed === true) return;
  const name = isRecord(callee.property) ? callee.property.value : undefined;
  const method = methods.find((each) => each === name);
  if (method === undefined) return;
  args.unshift(callee.object);
  node.callee = { type: "Identifier", value: functionName(method) };
}

function strip(method: Method, text: string, characters: string): string {
  const set = new Set(characters);
  const all = [...text];
  let start = 0;
  let end = all.length;
  if (method !== "rstrip") while (start < end && set.has(all[start]!)) start++;
  if (method !== "lstrip") while (end > start && set.has(all[end - 1]!)) end--;
  return all.slice(start, end).join("");
}

/** Python's `str.strip(characters)` and its one-sided forms, under the names that `honorStripCharacters` calls. */
export const stripFunctions: Readonly<Record<string, unknown>> = Object.fromEntries(
  methods.map((method) => [
    functionName(method),
    (text: unknown, characters: unknown): string => {
      if (typeof text !== "string" || typeof characters !== "string") {
        throw new TypeError(`${method} needs a string and characters, not ${typeof text} and ${typeof characters}`);
      }
      return strip(method, text, characters);
    },
  ]),
);
