/** A fenced block of a README that is run as it stands. */
export interface ReadmeExample {
  readonly language: "ts" | "sh";
  /** The line of the README on which the code starts, from 1. */
  readonly line: number;
  readonly code: string;
  /** What it prints on standard output, or undefined where the README does not show it. */
  readonly output: string | undefined;
}

interface Fence {
  readonly language: string;
  readonly line: number;
  readonly body: readonly string[];
  /** The text between the previous fence and this one. */
  readonly before: readonly string[];
}

/**
 * The examples of a README: every `ts` block, and every `sh` block that is followed by its output. Output is a `text` (or
 * plain) block that comes after with no heading between, or, in `ts`, the comments right under each `console.log`.
 */
export function readmeExamples(markdown: string): readonly ReadmeExample[] {
  const fences = fencesOf(markdown);
  return fences.flatMap(({ language, line, body }, i): ReadmeExample[] => {
    const following = fences[i + 1];
    const shown = following !== undefined && isOutput(following) ? following.body.join("\n") : undefined;
    const code = body.join("\n");
    if (language === "ts") return [{ language, line, code, output: shown ?? commentedOutput(body) }];
    if (language === "sh" && shown !== undefined) return [{ language, line, code, output: shown }];
    return [];
  });
}

/** The packages of the README's `npm install` line: what the examples may import. */
export function installedNames(markdown: string): readonly string[] {
  const names = [...markdown.matchAll(/^npm install (.+)$/gm)].flatMap(([, list]) => list!.trim().split(/\s+/));
  return [...new Set(names.filter((name) => !name.startsWith("-")))];
}

/** Whether the text printed is the text shown; `...` in a shown line stands for anything. */
export function isShownOutput(shown: string, printed: string): boolean {
  const pattern = shown
    .trim()
    .split("\n")
    .map((line) => line.trimEnd().split("...").map(escapeForRegExp).join(".*"))
    .join("\n");
  const text = printed
    .trim()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
  return new RegExp(`^${pattern}$`).test(text);
}

function fencesOf(markdown: string): readonly Fence[] {
  const fences: Fence[] = [];
  let open: { readonly language: string; readonly line: number; readonly body: string[] } | undefined;
  let before: string[] = [];
  for (const [i, text] of markdown.split("\n").entries()) {
    if (open === undefined && text.startsWith("```")) open = { language: text.slice(3).trim(), line: i + 2, body: [] };
    else if (open !== undefined && text.startsWith("```")) {
      fences.push({ ...open, before });
      open = undefined;
      before = [];
    } else (open?.body ?? before).push(text);
  }
  return fences;
}

function isOutput({ language, before }: Fence): boolean {
  return (language === "" || language === "text") && !before.some((line) => line.startsWith("#"));
}

function commentedOutput(code: readonly string[]): string | undefined {
  const output: string[] = [];
  let isUnderLog = false;
  for (const line of code) {
    const text = line.trim();
    if (isUnderLog && text.startsWith("// ")) output.push(text.slice(3));
    else isUnderLog = /^console\.log\(.*;$/.test(text);
  }
  return output.length === 0 ? undefined : output.join("\n");
}

function escapeForRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
