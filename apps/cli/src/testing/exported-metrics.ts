/** A metric family as a server exports it. */
export interface ExportedMetric {
  readonly type: string;
  /** Values that were seen, by label; a histogram's `le` is among them. */
  readonly labels: ReadonlyMap<string, ReadonlySet<string>>;
}

const suffixes: Readonly<Record<string, readonly string[]>> = {
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"],
};

/** Families of a text in the Prometheus format, by name. @throws Error for a sample of no family */
export function exportedMetrics(exposition: string): ReadonlyMap<string, ExportedMetric> {
  const families = new Map<string, { type: string; labels: Map<string, Set<string>> }>();
  for (const line of exposition.split("\n")) {
    const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (name !== undefined) families.set(name, { type: type!, labels: new Map() });
    if (line === "" || line.startsWith("#")) continue;
    const [, series, labels = ""] = /^([\w:]+)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    const family = families.get(familyOf(series ?? line, families) ?? "");
    if (family === undefined) throw new Error(`a sample of no family: ${line}`);
    for (const [, label, value] of labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      const seen = family.labels.get(label!) ?? new Set<string>();
      family.labels.set(label!, seen.add(value!));
    }
  }
  return families;
}

/** The family that a series belongs to: itself, or without what a histogram's series end in. */
export function familyOf(series: string, families: ReadonlyMap<string, { readonly type: string }>): string | undefined {
  for (const [name, { type }] of families) {
    if ((suffixes[type] ?? [""]).some((suffix) => name + suffix === series)) return name;
  }
  return undefined;
}
