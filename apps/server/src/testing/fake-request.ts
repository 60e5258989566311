import { setTimeout as delay, setImmediate as yieldToLoop } from "node:timers/promises";
import { KvantError } from "@kvant/core";
import type { GenerateEvent, GenerateRequest, TokenLogprob } from "@kvant/engine";
import { endOfSequence, firstWord, tokenBytes, wordCount } from "./fake-vocabulary.ts";

export interface FakeRequest {
  readonly request: GenerateRequest;
  readonly promptTokenIds: readonly number[];
  /** True once the request has ended by itself, well or badly. */
  settled: boolean;
}

export interface FakePace {
  readonly stepMilliseconds: number;
  readonly prefillMilliseconds: number;
  readonly holdUntil: Promise<void> | undefined;
  readonly dieAfterTokens: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onStep: (tokens: number) => void;
}

/** One completion on its way. */
interface Branch {
  readonly index: number;
  state: number;
  drawn: number;
  text: string;
  finish: Extract<GenerateEvent, { type: "finish" }> | undefined;
}

interface Drawn {
  text: string;
  readonly tokenIds: number[];
  readonly logprobs: TokenLogprob[];
}

/**
 * Draws tokens on its own clock and hands out what has gathered whenever the reader pulls, so a slow reader sees fewer and
 * longer deltas of the same text.
 */
export async function* runFakeRequest(fake: FakeRequest, pace: FakePace): AsyncGenerator<GenerateEvent> {
  const { request } = fake;
  const maxTokens = request.maxTokens ?? 64;
  const branches = Array.from({ length: request.n ?? 1 }, (_, index) => newBranch(fake, index));
  const gathered = new Map<number, Drawn>();
  const started = performance.now();
  await sleep(pace.prefillMilliseconds, pace.signal);
  const prefilled = performance.now();
  let owedSince = prefilled;

  while (branches.some((branch) => branch.finish === undefined) || gathered.size > 0) {
    throwIfEnded(fake, pace, started);
    if (pace.holdUntil !== undefined && branches.some(({ drawn }) => drawn > 0))
      await held(pace.holdUntil, pace.signal);
    await sleep(pace.stepMilliseconds, pace.signal);
    throwIfEnded(fake, pace, started);
    const elapsed = performance.now() - owedSince;
    const steps = pace.stepMilliseconds === 0 ? 1 : Math.max(1, Math.floor(elapsed / pace.stepMilliseconds));
    owedSince = performance.now();
    for (let step = 0; step < steps; step++) {
      const live = branches.filter((branch) => branch.finish === undefined);
      for (const branch of live) draw(branch, fake, maxTokens, gathered);
      if (live.length > 0) pace.onStep(live.length);
      if (branches.some((branch) => pace.dieAfterTokens !== undefined && branch.drawn >= pace.dieAfterTokens)) {
        fake.settled = true;
        throw new KvantError("ENGINE_DIED", "the engine process ended while the request was running");
      }
    }
    for (const branch of branches) {
      const delta = gathered.get(branch.index);
      if (delta === undefined) continue;
      gathered.delete(branch.index);
      yield { type: "delta", index: branch.index, ...delta };
      if (branch.finish !== undefined) yield branch.finish;
    }
  }
  fake.settled = true;
  yield {
    type: "done",
    usage: {
      promptTokens: fake.promptTokenIds.length,
      cachedTokens: Math.floor((fake.promptTokenIds.length - 1) / 16) * 16,
      completionTokens: branches.reduce((sum, branch) => sum + branch.drawn, 0),
    },
    timings: {
      queueSeconds: 0.0005,
      prefillSeconds: (prefilled - started) / 1000,
      decodeSeconds: (performance.now() - prefilled) / 1000,
    },
  };
}

function newBranch({ request, promptTokenIds }: FakeRequest, index: number): Branch {
  let state = 17 + index * 7919 + (request.temperature === 0 ? 0 : (request.seed ?? 1) * 104729);
  for (const tokenId of promptTokenIds) state = (Math.imul(state, 31) + tokenId) >>> 0;
  return { index, state, drawn: 0, text: "", finish: undefined };
}

function draw(branch: Branch, { request }: FakeRequest, maxTokens: number, gathered: Map<number, Drawn>): void {
  branch.state = (Math.imul(branch.state, 1664525) + 1013904223) >>> 0;
  const biased = Object.entries(request.logitBias ?? {}).find(([, bias]) => bias >= 100);
  const tokenId = biased === undefined ? firstWord + ((branch.state >>> 8) % wordCount) : Number(biased[0]);
  branch.drawn++;
  const ended = request.stopTokenIds?.includes(tokenId) === true || (tokenId === endOfSequence && !request.ignoreEos);
  let text = ended ? "" : Buffer.from(tokenBytes(tokenId)).toString("utf8");
  const stopText = request.stop?.find((stop) => (branch.text + text).includes(stop));
  if (stopText !== undefined) {
    text = (branch.text + text).slice(0, (branch.text + text).indexOf(stopText)).slice(branch.text.length);
  }
  branch.text += text;
  const delta = gathered.get(branch.index) ?? { text: "", tokenIds: [], logprobs: [] };
  gathered.set(branch.index, delta);
  delta.text += text;
  delta.tokenIds.push(tokenId);
  if (request.logprobs !== undefined) delta.logprobs.push(logprobOf(tokenId, request.logprobs));
  if (ended || stopText !== undefined || branch.drawn >= maxTokens) {
    const reason = ended || stopText !== undefined ? "stop" : "length";
    const stopTokenId = ended ? tokenId : undefined;
    branch.finish = { type: "finish", index: branch.index, reason, stopText, stopTokenId };
  }
}

function logprobOf(tokenId: number, topCount: number): TokenLogprob {
  const entry = (id: number, logprob: number) => {
    const bytes = tokenBytes(id);
    return { tokenId: id, text: Buffer.from(bytes).toString("utf8"), bytes: [...bytes], logprob };
  };
  const top = Array.from({ length: topCount }, (_, rank) =>
    entry(firstWord + ((tokenId - firstWord + rank + wordCount) % wordCount), -0.5 - rank),
  );
  return { ...entry(tokenId, -0.5), top };
}

function throwIfEnded(fake: FakeRequest, { signal }: FakePace, started: number): void {
  if (signal?.aborted === true) throw new KvantError("CANCELLED", "the caller cancelled the request");
  const { deadlineMilliseconds } = fake.request;
  if (deadlineMilliseconds !== undefined && performance.now() - started > deadlineMilliseconds) {
    fake.settled = true;
    throw new KvantError("DEADLINE_EXCEEDED", `the request took longer than ${deadlineMilliseconds} ms`);
  }
}

function held(until: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    signal?.addEventListener("abort", () => resolve(), { once: true });
    until.then(resolve);
  });
}

async function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  if (milliseconds === 0) return yieldToLoop();
  // An abort cuts the wait short; the caller looks at the signal next.
  await delay(milliseconds, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
}
