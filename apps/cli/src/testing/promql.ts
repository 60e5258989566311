/** A metric where an expression selects series of it. */
export interface Selector {
  readonly metric: string;
  readonly matchers: readonly { readonly label: string; readonly operator: string; readonly value: string }[];
}

/** What an expression names. */
export interface Expression {
  readonly selectors: readonly Selector[];
  /** In `by`, `without`, `on`, `ignoring`, `group_left` and `group_right`. */
  readonly groupedLabels: readonly string[];
}

type Token = { readonly kind: "name" | "text" | "other"; readonly text: string };

const tokenPattern =
  /\s+|#[^\n]*|(?<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?<number>\d[\w.]*(?:e[+-]?\d+)?)|(?<name>[a-zA-Z_:$][\w:$]*)|(?<other>[=!]~|[=!<>]=|[-+*/%^=<>(){}[\],:@])/gy;
const labelLists = new Set(["by", "without", "on", "ignoring", "group_left", "group_right"]);
const otherWords = new Set(["and", "or", "unless", "bool", "offset", "inf", "nan"]);
const closers: Readonly<Record<string, string>> = { "(": ")", "{": "}", "[": "]" };

/**
 * Reads of a PromQL expression what names series: enough to compare it with what a server exports, no more. Grafana's variables
 * (`$name`) may stand in durations and strings.
 * @throws Error at a character that no expression has, for brackets that do not match, and where a label has no matcher
 */
export function parseExpression(text: string): Expression {
  const tokens = tokenize(text);
  checkBrackets(tokens, text);
  const selectors: Selector[] = [];
  const groupedLabels: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const { kind, text: word } = tokens[i]!;
    if (word === "[") i = closing(tokens, i);
    if (kind !== "name" || otherWords.has(word.toLowerCase())) continue;
    const next = tokens[i + 1]?.text;
    if (labelLists.has(word)) {
      if (next !== "(") continue;
      const end = closing(tokens, i + 1);
      groupedLabels.push(...tokens.slice(i + 2, end).flatMap((token) => (token.text === "," ? [] : [token.text])));
      i = end;
    } else if (next === "{") {
      const end = closing(tokens, i + 1);
      selectors.push({ metric: word, matchers: readMatchers(tokens.slice(i + 2, end), text) });
      i = end;
    } else if (next !== "(" && !isAggregation(tokens, i)) {
      selectors.push({ metric: word, matchers: [] });
    }
  }
  return { selectors, groupedLabels };
}

function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let end = 0;
  for (const match of text.matchAll(tokenPattern)) {
    end = match.index + match[0].length;
    const { text: quoted, number, name, other } = match.groups ?? {};
    if (name !== undefined) tokens.push({ kind: "name", text: name });
    else if (quoted !== undefined) tokens.push({ kind: "text", text: quoted });
    else if (number !== undefined || other !== undefined) tokens.push({ kind: "other", text: match[0] });
  }
  if (end !== text.length) throw new Error(`no PromQL at ${JSON.stringify(text.slice(end, end + 20))} of ${text}`);
  return tokens;
}

function checkBrackets(tokens: readonly Token[], text: string): void {
  const open: string[] = [];
  for (const { text: word } of tokens) {
    if (word in closers) open.push(closers[word]!);
    else if (Object.values(closers).includes(word) && open.pop() !== word)
      throw new Error(`a stray ${word} in ${text}`);
  }
  if (open.length > 0) throw new Error(`no ${open.pop()} at the end of ${text}`);
}

/** Index of the bracket that closes the one at `start`. */
function closing(tokens: readonly Token[], start: number): number {
  const close = closers[tokens[start]!.text]!;
  return tokens.findIndex(({ text }, i) => i > start && text === close);
}

/** `sum by (le) (…)`: the operator stands before its labels. */
function isAggregation(tokens: readonly Token[], i: number): boolean {
  return ["by", "without"].includes(tokens[i + 1]?.text ?? "") && tokens[i + 2]?.text === "(";
}

function readMatchers(tokens: readonly Token[], text: string): Selector["matchers"] {
  const matchers: { label: string; operator: string; value: string }[] = [];
  for (let i = 0; i < tokens.length; i += 4) {
    const [label, operator, value, comma] = tokens.slice(i, i + 4);
    const isMatcher = label?.kind === "name" && /^(=|!=|=~|!~)$/.test(operator?.text ?? "") && value?.kind === "text";
    if (!isMatcher || (comma !== undefined && comma.text !== ",")) throw new Error(`no label matcher in ${text}`);
    matchers.push({ label: label.text, operator: operator!.text, value: value.text.slice(1, -1) });
  }
  return matchers;
}
