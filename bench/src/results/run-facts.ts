import { type Fact, formatNumber, type Section } from "@kvant/report";
import type { LoadLevel, LoadResult } from "../load/load-result.ts";
import type { TokenCounter } from "../load/request-record.ts";
import { repeatCommand } from "./repeat-command.ts";

const counters: Readonly<Record<TokenCounter, string>> = {
  usage: "by the server's usage",
  tokenizer: "by the tokenizer over the text",
  chunks: "by chunks, because neither usage nor a tokenizer was there",
};

/** What the client cost itself, how late it was, and what makes the figures doubtful. */
export function clientSection(result: LoadResult): Section {
  const { client, warnings } = result;
  return {
    title: "The client",
    parts: [
      { kind: "paragraph", text: clientSentence(result) },
      {
        kind: "facts",
        facts: [
          { label: "Worker processes", value: String(client.workers) },
          { label: "Can take", value: `${formatNumber(client.tokensPerSecond, "number", 3)} tok/s` },
          { label: "Adds at p99", value: formatNumber(client.addedP99Seconds, "seconds", 3) },
          ...sendDelayFacts(result.levels),
        ],
      },
      { kind: "paragraph", text: [countedSentence(result.levels), ...cachedSentence(result.levels)].join(" ") },
      warnings.length === 0
        ? { kind: "paragraph", text: "Nothing hints that the client was the bottleneck." }
        : { kind: "list", items: warnings },
    ],
  };
}

/** What the client can take beside what it had to take. */
export function clientSentence({ client, levels }: LoadResult): string {
  const most = Math.max(0, ...levels.map((level) => level.outputTokensPerSecond));
  const used = client.tokensPerSecond > 0 ? most / client.tokensPerSecond : 0;
  const workers = client.workers === 1 ? "1 worker process" : `${client.workers} worker processes`;
  return (
    `Before the load the client's ${workers} took ${formatNumber(client.tokensPerSecond, "number", 3)} tokens per second from a ` +
    `server that answers at once, and added ${formatNumber(client.addedP99Seconds, "seconds", 3)} at the 99th percentile; ` +
    `the load used ${formatNumber(used, "share")} of that.`
  );
}

function sendDelayFacts(levels: readonly LoadLevel[]): readonly Fact[] {
  const delays = levels.flatMap(({ sendDelay }) => (sendDelay === undefined ? [] : [sendDelay.p99]));
  if (delays.length === 0) return [];
  const worst = formatNumber(Math.max(...delays), "seconds", 3);
  return [{ label: "Sends late by", value: worst, detail: "p99 of the worst level" }];
}

/** Who counted the tokens of the answers; several where servers differ from request to request. */
export function countedSentence(levels: readonly LoadLevel[]): string {
  const counts = new Map<string, number>();
  for (const { countedBy } of levels) {
    for (const [counter, count] of Object.entries(countedBy)) counts.set(counter, (counts.get(counter) ?? 0) + count);
  }
  const ways = (Object.keys(counters) as TokenCounter[]).filter((counter) => (counts.get(counter) ?? 0) > 0);
  if (ways.length === 0) return "No answer had tokens to count.";
  const [only] = ways;
  if (ways.length === 1) return `Tokens were counted ${counters[only!]}.`;
  return `Tokens were counted ${ways.map((way) => `${counters[way]} (${counts.get(way)} requests)`).join(", ")}.`;
}

/** What the server's prefix cache took off its prompts, in one sentence; none where no level tells. */
export function cachedSentence(levels: readonly LoadLevel[]): readonly string[] {
  const telling = levels.filter(({ cachedTokens }) => cachedTokens !== undefined);
  if (telling.length === 0) return [];
  const sum = (of: (level: LoadLevel) => number): number => telling.reduce((total, level) => total + of(level), 0);
  const [cached, all] = [sum(({ cachedTokens = 0 }) => cachedTokens), sum(({ promptTokens }) => promptTokens)];
  const share = all === 0 ? 0 : (100 * cached) / all;
  const [some, whole] = [cached, all].map((count) => count.toLocaleString("en"));
  return [`Of ${whole} tokens in, ${some} (${share.toFixed(1)} %) were in the server's prefix cache.`];
}

/** Machine, software, server, workload, and the command line that repeats the run. */
export function runSection(result: LoadResult): Section {
  return {
    title: "The run",
    parts: [
      { kind: "facts", facts: runFacts(result) },
      { kind: "code", text: repeatCommand(result) },
    ],
  };
}

/** Labels and values, the same for page and Markdown. */
export function runFacts(result: LoadResult): readonly Fact[] {
  const { server, objectives, seed, workload } = result;
  const bounds = Object.entries(objectives).map(([name, seconds]) => `${name} ${formatNumber(seconds, "seconds")}`);
  const scheme = schemeText(server);
  return [
    { label: "Server", value: server.target, detail: server.software ?? "says nothing of its software" },
    { label: "Model", value: server.model, ...(scheme === "" ? {} : { detail: scheme }) },
    { label: "Protocol", value: server.dialect },
    { label: "Workload", value: workload, detail: `seed ${seed}` },
    ...(bounds.length === 0 ? [] : [{ label: "Objectives", value: bounds.join(", ") }]),
    ...machineFacts(result, "Client's machine"),
  ];
}

/** Where and with what something was measured, and when. */
export function machineFacts(
  { machine, software, startedAt }: Pick<LoadResult, "machine" | "software" | "startedAt">,
  label = "Machine",
): readonly Fact[] {
  const { cpu, cores, memoryBytes, platform, accelerators } = machine;
  return [
    { label, value: cpu, detail: `${cores} cores, ${formatNumber(memoryBytes, "bytes")}, ${platform}` },
    ...(accelerators.length === 0 ? [] : [{ label: "Accelerators", value: accelerators.join(", ") }]),
    { label: "Software", value: `kvant ${software.kvant}`, detail: `Node ${software.node}` },
    { label: "Started", value: startedAt },
  ];
}

const schemeWords: Readonly<Record<string, string>> = {
  weights: "weights",
  activations: "activations",
  headFormat: "head",
  kvFormat: "KV cache",
};

/** `int8 weights, int8 activations, int8 KV cache, cpu, avx2`; empty where the server tells nothing. */
export function schemeText({ scheme = {} }: LoadResult["server"]): string {
  return Object.entries(scheme)
    .map(([name, value]) => (schemeWords[name] === undefined ? value : `${value} ${schemeWords[name]}`))
    .join(", ");
}
