/** One sample of an exposition. */
export interface MetricSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const namePattern = /^[A-Za-z_:][A-Za-z0-9_:]*/;
const labelPattern = /\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?/y;

/**
 * Samples of Prometheus' text format 0.0.4 and of OpenMetrics, in their order. Comments, types, timestamps and exemplars are
 * skipped, and so is a line that is no sample: one odd metric of a foreign server is no reason to lose the others. (The parsers
 * on npm have not been kept for years, or come with a client library of Prometheus.)
 */
export function parsePrometheusText(text: string): readonly MetricSample[] {
  return text.split("\n").flatMap((line) => {
    const sample = parseSample(line.trim());
    return sample === undefined ? [] : [sample];
  });
}

function parseSample(line: string): MetricSample | undefined {
  const name = namePattern.exec(line)?.[0];
  if (name === undefined) return undefined;
  const labels: Record<string, string> = {};
  let end = name.length;
  while (line[end] === " ") end++;
  if (line[end] === "{") {
    labelPattern.lastIndex = end + 1;
    end += 1;
    for (let match = labelPattern.exec(line); match !== null; match = labelPattern.exec(line)) {
      labels[match[1]!] = unescaped(match[2]!);
      end = labelPattern.lastIndex;
    }
    while (line[end] === " ") end++;
    if (line[end] !== "}") return undefined;
    end += 1;
  }
  const value = sampleValue(line.slice(end).trim().split(/\s+/)[0] ?? "");
  return value === undefined ? undefined : { name, labels, value };
}

function sampleValue(word: string): number | undefined {
  if (/^\+?Inf$/i.test(word)) return Number.POSITIVE_INFINITY;
  if (/^-Inf$/i.test(word)) return Number.NEGATIVE_INFINITY;
  if (/^NaN$/i.test(word)) return Number.NaN;
  return word === "" || Number.isNaN(Number(word)) ? undefined : Number(word);
}

function unescaped(value: string): string {
  return value.replace(/\\(.)/g, (_, character: string) => (character === "n" ? "\n" : character));
}
