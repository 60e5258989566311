import { spawnSync } from "node:child_process";
import { statusOf } from "../apps/server/src/error-statuses.ts";
import { vllmAliases } from "../apps/server/src/metrics/metric-aliases.ts";
import { ServerMetrics } from "../apps/server/src/metrics/server-metrics.ts";
import { FakeEngine } from "../apps/server/src/testing/fake-engine.ts";
import { type ErrorCode, errorCodes, limits } from "../packages/core/src/index.ts";
import { repository } from "./packages/workspace-packages.ts";
import { environment } from "./workspace.mjs";

/** The text of docs/reference.md: tables that the code itself holds, so that the page cannot disagree with it. */
export async function referencePage(): Promise<string> {
  const sections = [
    "# Reference tables",
    "Written by `npm run docs:reference` from the tables in the code; a test fails while this page is stale.",
    "## Error codes",
    "Every error is a `KvantError` with one of these codes. The sentence on it names the value and the limit. HTTP answers have OpenAI's error shape; gRPC errors carry the code in the trailer `kvant-error-code`. Codes without a status of their own, such as those of checkpoints, answer 500 and gRPC status 13: a client cannot cause them.",
    table(["code", "HTTP", "`error.code`", "gRPC", "retry after", "meaning"], errorRows()),
    "## Limits",
    "Everything that comes from outside is bounded by a row of `packages/core/src/limits.ts`. Sizes are bytes, times milliseconds, the rest counts.",
    table(["limit", "value", "why this number"], limitRows()),
    "## Metrics",
    "`GET /metrics` in Prometheus text format. Units are base units: seconds, bytes, ratios from 0 to 1.",
    table(["metric", "type", "labels", "what it says"], await metricRows()),
    "With `--metrics-alias vllm` the same numbers appear again under these names, with the label `model_name`:",
    table(
      ["alias", "metric"],
      [...vllmAliases].map(([alias, name]) => [`\`${alias}\``, `\`${name}\``]),
    ),
  ];
  return formatted(`${sections.join("\n\n")}\n`);
}

/** As the repository's formatter lays it out. */
function formatted(markdown: string): string {
  const args = ["format", "--stdin-file-path=docs/reference.md"];
  const { status, stdout, stderr } = spawnSync("biome", args, { cwd: repository, env: environment, input: markdown });
  if (status !== 0) throw new Error(`biome format failed\n${stderr}`);
  return stdout.toString("utf8");
}

function errorRows(): readonly (readonly string[])[] {
  return Object.entries(errorCodes).map(([code, meaning]) => {
    const { http, code: shown, grpc, retryAfterSeconds } = statusOf(code as ErrorCode);
    const retry = retryAfterSeconds === undefined ? "" : `${retryAfterSeconds} s`;
    return [`\`${code}\``, String(http), `\`${shown}\``, String(grpc), retry, meaning];
  });
}

function limitRows(): readonly (readonly string[])[] {
  return Object.entries(limits).map(([name, { value, reason }]) => [`\`${name}\``, value.toLocaleString("en"), reason]);
}

/** Reads the metrics off an exposition, after making every labelled one say something. */
async function metricRows(): Promise<readonly (readonly string[])[]> {
  const engine = new FakeEngine();
  const metrics = new ServerMetrics(engine, { version: "0.0.0", alias: undefined, modelName: () => "model" });
  try {
    metrics.requests.answered("http", "/health", 200);
    for await (const _ of engine.generate({ prompt: { kind: "tokens", tokenIds: [1] }, maxTokens: 1 }));
    // The event loop's delay is known once its timer has fired.
    await new Promise((resolve) => setTimeout(resolve, 50));
    return (await metrics.expose()).split("\n\n").flatMap((family) => familyRow(family));
  } finally {
    metrics.stop();
  }
}

function familyRow(family: string): readonly (readonly string[])[] {
  const [, name, help] = /^# HELP (\S+) (.*)$/m.exec(family) ?? [];
  const [, type] = /^# TYPE \S+ (\S+)$/m.exec(family) ?? [];
  if (name === undefined || help === undefined || type === undefined) return [];
  const labels = [...family.matchAll(/[{,](\w+)="/g)].map(([, label]) => label!).filter((label) => label !== "le");
  const shown = [...new Set(labels)].map((label) => `\`${label}\``).join(", ");
  return [[`\`${name}\``, type, shown, help]];
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}
