// What docs/operations ships to watch a server, against what a server exports.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { limit } from "@kvant/core";
import { load } from "js-yaml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BundledCli, bundleCli } from "./testing/bundled-cli.ts";
import { type ExportedMetric, exportedMetrics, familyOf } from "./testing/exported-metrics.ts";
import { parseExpression } from "./testing/promql.ts";

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const read = (path: string) => readFileSync(join(repository, path), "utf8");
const page = read("docs/operations/README.md");
const dashboard = JSON.parse(read("docs/operations/grafana-dashboard.json"));
const panels: readonly Panel[] = dashboard.panels;
const groups = (load(read("docs/operations/prometheus-alerts.yaml")) as { groups: { name: string; rules: Rule[] }[] })
  .groups;
const rules = groups.flatMap((group) => group.rules);

/** Labels that Prometheus gives every series. */
const targetLabels = ["job", "instance"];
/** Series that Prometheus makes itself. */
const prometheusMetrics = ["up"];
/** Any status can come, so what one request gave is not all of them. */
const openLabels = ["status"];
/** Metrics of the reference page that no panel shows, with the reason. */
const leftOut: Readonly<Record<string, string>> = {};

let cli: BundledCli;
let exported: ReadonlyMap<string, ExportedMetric>;

beforeAll(async () => {
  cli = await bundleCli();
  const server = cli.start(["serve", "--port", "0", "--no-grpc", "--log-level", "error"]);
  const ended = once(server, "exit");
  try {
    const url = await readyUrl(server);
    const body = JSON.stringify({ prompt: "She said", max_tokens: 8, stream: true });
    const answer = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    expect(await answer.text()).toContain("data: [DONE]");
    await fetch(`${url}/ready`);
    exported = exportedMetrics(await (await fetch(`${url}/metrics`)).text());
  } finally {
    server.kill("SIGTERM");
    await ended;
  }
});
afterAll(() => cli?.remove());

async function readyUrl(server: ReturnType<BundledCli["start"]>): Promise<string> {
  let said = "";
  // The stream stays open: a server that cannot say anything would end.
  for await (const text of server.stderr!.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    said += text;
    const url = /ready at (http:\/\/\S+)/.exec(said)?.[1];
    if (url !== undefined) return url;
  }
  throw new Error(`the server ended before it was ready: ${said}`);
}

/** What an expression names and the server does not export, as sentences. */
function findings(text: string): readonly string[] {
  const { selectors, groupedLabels } = parseExpression(text);
  const families = selectors.flatMap(({ metric }) => exported.get(familyOf(metric, exported) ?? "") ?? []);
  const known = new Set([...targetLabels, ...families.flatMap(({ labels }) => [...labels.keys()])]);
  return [
    ...(selectors.length === 0 ? ["it selects nothing"] : []),
    ...groupedLabels.filter((label) => !known.has(label)).map((label) => `no metric here has a label ${label}`),
    ...selectors.flatMap(({ metric, matchers }) => {
      if (prometheusMetrics.includes(metric)) return [];
      const family = exported.get(familyOf(metric, exported) ?? "");
      if (family === undefined) return [`${metric} is not exported`];
      return matchers.flatMap(({ label, operator, value }) => {
        if (targetLabels.includes(label)) return [];
        const values = family.labels.get(label);
        if (values === undefined) return [`${metric} has no label ${label}`];
        if (operator.includes("~") || openLabels.includes(label) || values.has(value)) return [];
        return [`${metric} has no ${label}="${value}", but ${[...values].join(", ")}`];
      });
    }),
  ];
}

test("what the server does not export would be found", () => {
  expect(findings('sum by (kind) (rate(kvant_step_seconds_bucket{le="+Inf"}[5m]))')).toEqual([]);
  expect(findings("kvant_step_seconds")).toEqual(["kvant_step_seconds is not exported"]);
  expect(findings("kvant_kv_pages_total")).toEqual(["kvant_kv_pages_total is not exported"]);
  expect(findings('sum by (le) (kvant_kv_pages{colour="red",state="lost"})')).toEqual([
    "no metric here has a label le",
    "kvant_kv_pages has no label colour",
    'kvant_kv_pages has no state="lost", but free, cached, used',
  ]);
  expect(findings("vector(1)")).toEqual(["it selects nothing"]);
});

describe("the dashboard", () => {
  const queries = panels.flatMap(({ title, targets = [] }) => targets.map((target) => ({ title, ...target })));

  test("names nothing that a server does not export", () => {
    const wrong = queries.flatMap(({ title, expr }) => findings(expr).map((finding) => `${title}: ${finding}`));
    expect(wrong).toEqual([]);
    for (const { definition } of dashboard.templating.list.filter(({ type }: { type: string }) => type === "query")) {
      const [, selector, label] = /^label_values\((.*), (\w+)\)$/.exec(definition) ?? [];
      expect(findings(selector!)).toEqual([]);
      expect(targetLabels).toContain(label);
    }
  });

  test("shows every metric of the reference page but those that are left out for a reason", () => {
    const rows = read("docs/reference.md").split("\n## Metrics\n")[1]!;
    const promised = [...rows.matchAll(/^\| `(kvant_\w+)` /gm)].map(([, name]) => name!);
    expect(promised.length).toBeGreaterThan(20);
    const shown = new Set(
      queries.flatMap(({ expr }) => parseExpression(expr).selectors.map(({ metric }) => familyOf(metric, exported))),
    );
    expect(promised.filter((name) => !shown.has(name))).toEqual(Object.keys(leftOut));
    expect([...exported.keys()].filter((name) => !promised.includes(name))).toEqual([]);
  });

  test("asks for the chosen servers in every selector, and its legends name labels that are there", () => {
    for (const { title, expr, legendFormat } of queries) {
      const { selectors, groupedLabels } = parseExpression(expr);
      for (const { matchers } of selectors) {
        const chosen = matchers
          .filter(({ operator }) => operator === "=~")
          .map(({ label, value }) => `${label}=${value}`);
        expect(chosen, title).toEqual(["job=$job", "instance=$instance"]);
      }
      const isGrouped = groupedLabels.length > 0 || /\b(sum|max)\s*\(/.test(expr);
      const named = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!);
      const metric = exported.get(familyOf(selectors[0]!.metric, exported) ?? "");
      const present = isGrouped ? groupedLabels : [...targetLabels, ...(metric?.labels.keys() ?? [])];
      expect(
        named.filter((label) => !present.includes(label)),
        title,
      ).toEqual([]);
    }
  });

  test("has panels that neither overlap nor share an id", () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(panels.filter(({ gridPos: { x, w } }) => x + w > 24)).toEqual([]);
  });
});

describe("the alerts", () => {
  test("are rules as Prometheus reads them", () => {
    expect(groups.map(({ name }) => name)).toEqual(["kvant-availability", "kvant-saturation", "kvant-latency"]);
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    for (const rule of rules) {
      expect(Object.keys(rule), rule.alert).toEqual(["alert", "expr", "for", "labels", "annotations"]);
      expect(rule.alert).toMatch(/^Kvant[A-Z]\w+$/);
      expect(rule.for).toMatch(/^\d+[smh]$/);
      expect(["warning", "critical"]).toContain(rule.labels.severity);
      expect(Object.keys(rule.annotations)).toEqual(["summary", "description", "runbook_url"]);
    }
  });

  test.each(rules.map((rule) => [rule.alert, rule] as const))(
    "%s names nothing that a server does not export",
    (_, rule) => {
      expect(findings(rule.expr)).toEqual([]);
      const { selectors, groupedLabels } = parseExpression(rule.expr);
      const metric = exported.get(familyOf(selectors[0]!.metric, exported) ?? "");
      const isGrouped = /\bsum by\b/.test(rule.expr) && !/\band\b/.test(rule.expr);
      const present = isGrouped ? groupedLabels : [...targetLabels, ...(metric?.labels.keys() ?? [])];
      const named = [...JSON.stringify(rule.annotations).matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label!);
      expect(named.filter((label) => !present.includes(label))).toEqual([]);
    },
  );

  test("each has a section that says what to do, and no section is left over", () => {
    const url = "https://github.com/kvant/kvant/blob/main/docs/operations/README.md#";
    expect(rules.map(({ annotations }) => annotations.runbook_url)).toEqual(
      rules.map(({ alert }) => url + alert.toLowerCase()),
    );
    expect([...page.matchAll(/^### (Kvant\w+)$/gm)].map(([, name]) => name)).toEqual(rules.map(({ alert }) => alert));
  });

  test("the queue's threshold is four fifths of its limit", () => {
    const rule = rules.find(({ alert }) => alert === "KvantQueueNearlyFull")!;
    expect(rule.expr).toContain(`> ${Math.floor(0.8 * limit("queuedRequests"))}`);
    expect(rule.annotations.summary).toContain(`${limit("queuedRequests")}`);
  });

  test("the device's memory is held against what the device has, and not against a card's", () => {
    const { expr } = rules.find(({ alert }) => alert === "KvantDeviceMemoryNearFull")!;
    expect(parseExpression(expr).selectors.map(({ metric }) => metric)).toEqual([
      "kvant_device_memory_bytes",
      "kvant_device_memory_capacity_bytes",
    ]);
    expect(expr).not.toMatch(/\de\d/);
  });
});
