import { appendFileSync, existsSync, readFileSync } from "node:fs";
import type { EngineStats, ModelInfo } from "../engine.ts";
import type { FromEngine, ToEngine } from "../process/protocol.ts";

// An engine process without an engine, for tests of the parent's side. `model` is a file that counts its starts;
// `servedModelName` says how it misbehaves:
//   silent   never becomes ready
//   fatal    says why it cannot load and ends in the same moment
//   once     serves on its first start, dies of any request, cannot load afterwards

const stats: EngineStats = {
  running: 1,
  waiting: 0,
  pages: { free: 1, cached: 1, used: 1 },
  hostPages: { free: 1, used: 1 },
  promptTokens: 7,
  generationTokens: 0,
  prefixQueryTokens: 0,
  prefixHitTokens: 0,
  preemptions: { recompute: 0, swap: 0 },
  saturations: 0,
  residentBytes: 1,
  restarts: 0,
};

const model: ModelInfo = {
  name: "scripted",
  architecture: "llama",
  contextLength: 16,
  vocabSize: 16,
  weights: "fp32",
  activations: "fp32",
  kvFormat: "fp32",
  device: "cpu",
  backend: "reference",
  tier: "scalar",
  threads: 1,
  deterministic: true,
  hasTokenizer: false,
  hasChatTemplate: false,
  tensorClasses: [],
  pageTokens: 16,
  pageCount: 3,
  kvBytes: { codes: 0, scales: 0 },
  swapBytes: 0,
  weightBytes: {},
  activationBytes: 0,
  deviceMemoryBytes: 0,
  loadSeconds: 0,
};

function send(message: FromEngine): void {
  process.send?.(message);
}

function start(file: string, script: string | undefined): void {
  const isFirst = !existsSync(file) || readFileSync(file, "utf8") === "";
  appendFileSync(file, "started\n");
  if (script === "silent") return;
  if (script === "once" && isFirst) {
    send({ type: "ready", model });
    send({ type: "news", requests: [], steps: [], stats });
    return;
  }
  send({ type: "fatal", error: { code: "OUT_OF_MEMORY", message: "no memory for the weights", field: undefined } });
  process.exit(1);
}

process.on("message", (message: ToEngine) => {
  if (message.type === "open") start(message.options.model, message.options.servedModelName);
  else if (message.type === "close") process.exit(0);
  else if (message.type === "generate") {
    const delta = { type: "delta", index: 0, text: "last words", tokenIds: [1], logprobs: [] } as const;
    const requests = [{ id: message.id, events: [delta], outcome: "running" as const }];
    send({ type: "news", requests, steps: [], stats });
    process.exit(3);
  }
});
