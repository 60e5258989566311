import { setFlagsFromString } from "node:v8";
import { KvantError } from "@kvant/core";
import type { GenerateEvent, StepNews } from "../engine.ts";
import type { RequestSink } from "../generation.ts";
import { createEngine, type LocalEngine } from "../local-engine.ts";
import { type FromEngine, type RequestNews, serializeError, type ToEngine } from "./protocol.ts";
import { TokenColumns } from "./token-news.ts";

// The engine process: one engine, driven over the IPC channel of its parent. It ends with the channel.

// Its heap is small, and what requests leave in it has grown old with them: for every few megabytes of that V8 marks all of it, on
// four threads (8 ms of each second with 256 streams; 2 ms so). It may grow to four times what is in use first.
setFlagsFromString("--heap-growing-percent=300");

/** How often gauges reach the parent while nothing runs, and while sequences decode and none comes or goes. */
const idleNewsMilliseconds = 1000;
const decodingStatsMilliseconds = 100;

let engine: LocalEngine | undefined;
const cancels = new Map<number, () => void>();
const news = new Map<number, RequestNews>();
/** Of requests without other news: the parent reads these first. */
const tokens = new TokenColumns();
let steps: StepNews[] = [];
let toldStatsAt = 0;
let plannedFlush: NodeJS.Immediate | undefined;

function send(message: FromEngine): void {
  // The channel may close at any time; the disconnect handler ends the process.
  if (process.connected) process.send?.(message);
}

function newsOf(id: number): RequestNews {
  const known = news.get(id);
  if (known !== undefined) return known;
  const fresh: RequestNews = { id, events: [], outcome: "running" };
  news.set(id, fresh);
  planFlush();
  return fresh;
}

/** Steps flush when they have settled; everything else flushes at the end of the turn. */
function planFlush(): void {
  plannedFlush ??= setImmediate(flush);
}

function flush(): void {
  // A step's news plan a flush and then flush themselves: one message, not a second one with nothing in it.
  clearImmediate(plannedFlush);
  plannedFlush = undefined;
  if (engine === undefined) return;
  const now = performance.now();
  const isDecoding = !tokens.isEmpty && news.size === 0 && steps.every(({ kind }) => kind === "decode");
  const tellsStats = !isDecoding || now - toldStatsAt >= decodingStatsMilliseconds;
  if (tellsStats) toldStatsAt = now;
  const stats = tellsStats ? engine.stats() : undefined;
  send({ type: "news", tokens: tokens.take(), requests: [...news.values()], steps, stats });
  news.clear();
  steps = [];
}

function fatal(error: unknown): void {
  const message: FromEngine = { type: "fatal", error: serializeError(error) };
  // Ends when the message is in the channel, or when there is none any more.
  if (!process.send?.(message, undefined, undefined, () => process.exit(1))) setTimeout(() => process.exit(1), 1000);
}

async function open(options: Extract<ToEngine, { type: "open" }>["options"]): Promise<void> {
  engine = await createEngine(options, {
    onProgress: (progress) => send({ type: "progress", progress }),
    onFlush: flush,
    // A backend that failed once is not trusted again: the parent starts a fresh process.
    onFault: fatal,
  });
  engine.observe({ step: (step) => steps.push(step) });
  send({ type: "ready", model: engine.model });
  flush();
  setInterval(planFlush, idleNewsMilliseconds).unref();
}

function ready(): LocalEngine {
  if (engine === undefined) throw new KvantError("ENGINE_NOT_READY", "the engine is still loading the model");
  return engine;
}

/** What one request has to tell, on its way into the news. */
class NewsSink implements RequestSink {
  readonly #id: number;

  constructor(id: number) {
    this.#id = id;
  }

  event(event: GenerateEvent): void {
    const isPlain = event.type === "delta" && event.index === 0 && event.logprobs.length === 0 && !news.has(this.#id);
    if (!isPlain) {
      newsOf(this.#id).events.push(event);
      return;
    }
    for (const tokenId of event.tokenIds) tokens.addToken(tokenId);
    tokens.endRow(this.#id, event.text);
    planFlush();
  }

  token(index: number, tokenId: number, text: string): void {
    if (index > 0 || news.has(this.#id)) {
      newsOf(this.#id).events.push({ type: "delta", index, text, tokenIds: [tokenId], logprobs: [] });
      return;
    }
    tokens.addToken(tokenId);
    tokens.endRow(this.#id, text);
    planFlush();
  }

  end(): void {
    this.#close("end");
  }

  fail(error: unknown): void {
    this.#close(serializeError(error));
  }

  #close(outcome: RequestNews["outcome"]): void {
    newsOf(this.#id).outcome = outcome;
    cancels.delete(this.#id);
  }
}

function generate(id: number, request: Extract<ToEngine, { type: "generate" }>["request"]): void {
  const sink = new NewsSink(id);
  try {
    cancels.set(id, ready().submit(request, sink));
  } catch (error) {
    sink.fail(error);
  }
}

function answer(id: number, reply: Promise<FromEngine>): void {
  reply.then(send, (error) => send({ type: "refused", id, error: serializeError(error) }));
}

async function tokenize({
  id,
  prompt,
  addSpecialTokens,
}: Extract<ToEngine, { type: "tokenize" }>): Promise<FromEngine> {
  return { type: "tokens", id, tokenIds: await ready().tokenize(prompt, { addSpecialTokens }) };
}

async function detokenize({ id, tokenIds }: Extract<ToEngine, { type: "detokenize" }>): Promise<FromEngine> {
  return { type: "text", id, text: await ready().detokenize(tokenIds) };
}

process.on("message", (message: ToEngine) => {
  switch (message.type) {
    case "open":
      open(message.options).catch(fatal);
      break;
    case "generate":
      generate(message.id, message.request);
      break;
    case "cancel":
      cancels.get(message.id)?.();
      cancels.delete(message.id);
      planFlush();
      break;
    case "tokenize":
      answer(message.id, tokenize(message));
      break;
    case "detokenize":
      answer(message.id, detokenize(message));
      break;
    case "close":
      Promise.resolve(engine?.close()).then(() => process.exit(0), fatal);
      break;
    default:
      message satisfies never;
  }
});
process.on("disconnect", () => process.exit(0));
// The parent decides when the engine ends: a Ctrl-C reaches the whole process group.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
