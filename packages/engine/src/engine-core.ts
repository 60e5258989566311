import { KvantError, limit } from "@kvant/core";
import type { Executable, StepOutputs } from "@kvant/kernels";
import { KvManager } from "@kvant/kvcache";
import type { Tokenizer } from "@kvant/tokenizer";
import { checkRequest, type ModelBounds } from "./check-request.ts";
import type { Completion } from "./completion.ts";
import type { EngineObserver, EngineStats, GenerateRequest } from "./engine.ts";
import { Generation, type RequestSink } from "./generation.ts";
import { type Batch, Scheduler } from "./scheduler.ts";
import { Sequence } from "./sequence.ts";
import { StepPacker } from "./step-packer.ts";

export interface EngineCoreOptions {
  readonly executable: Executable;
  readonly tokenizer: Tokenizer | undefined;
  readonly bounds: ModelBounds;
  readonly pageTokens: number;
  /** `[kvGroups]` pages per layer group, the reserved one included. */
  readonly pageCounts: readonly number[];
  /** `[kvGroups]` pages of host memory per layer group for preempted sequences; absent: none, they are computed again. */
  readonly hostPageCounts?: readonly number[];
  readonly maxRows: number;
  readonly maxStepTokens: number;
  readonly prefixReuse: boolean;
  /** Tokens that a delta gathers; default 1. */
  readonly streamInterval?: number;
  /** Checks the page accounting after every step: linear in pages, so for tests. */
  readonly checkInvariant: boolean;
  readonly onStep?: EngineObserver["step"];
  /** After the events of one step have been handed to their sinks. */
  readonly onFlush?: () => void;
  /** A step has failed; every running request has been told. */
  readonly onFault?: (error: unknown) => void;
}

interface Flight {
  readonly batch: Batch;
  readonly outputs: Promise<StepOutputs>;
}

/** The heartbeat and all it composes: requests in, one packed step after the other, tokens out. */
export class EngineCore {
  readonly #options: EngineCoreOptions;
  readonly #kv: KvManager;
  readonly #scheduler: Scheduler;
  readonly #packer = new StepPacker();
  /** Running completions by the id of their sequence: a number finds its entry without a look at the object. */
  readonly #owners = new Map<number, { readonly generation: Generation; readonly completion: Completion }>();
  #nextSequenceId = 1;
  #promptTokens = 0;
  #generationTokens = 0;
  #saturations = 0;
  #isClosing = false;
  #wake: (() => void) | undefined;
  readonly #idle = new Set<() => void>();
  readonly #beating: Promise<void>;

  /** @throws INVALID_ARGUMENT for a stream interval that is no positive integer. */
  constructor(options: EngineCoreOptions) {
    checkStreamInterval(options.streamInterval);
    this.#options = options;
    const { executable, pageTokens, pageCounts, hostPageCounts, maxRows, maxStepTokens, prefixReuse } = options;
    this.#kv = new KvManager({
      groups: executable.plan.kvGroups.map(({ window }, i) => ({
        pageCount: pageCounts[i]!,
        hostPageCount: hostPageCounts?.[i] ?? 0,
        pageTokens,
        ...(window === undefined ? {} : { window }),
      })),
      // Two steps in flight, each at most a whole budget ahead.
      aheadTokens: 2 * maxStepTokens,
      prefixReuse,
    });
    this.#scheduler = new Scheduler({ kv: this.#kv, maxRows, maxStepTokens, pageTokens });
    this.#beating = this.#beat();
  }

  /**
   * Checks a request and queues it. @returns a function that cancels it.
   * @throws what `checkRequest` throws, and QUEUE_FULL.
   */
  submit(request: GenerateRequest, promptIds: Int32Array, sink: RequestSink): () => void {
    const checked = checkRequest(request, promptIds, this.#options.bounds);
    this.#checkQueue(checked.samplings.length, promptIds.length);
    const sequences: Sequence[] = [];
    for (const sampling of checked.samplings) {
      const { maxTokens, priority, salt } = checked;
      const options = {
        id: this.#nextSequenceId++,
        promptIds,
        maxTokens,
        sampling,
        priority,
        salt,
        parent: sequences[0],
      };
      sequences.push(new Sequence(options));
    }
    const { tokenizer, streamInterval = 1 } = this.#options;
    const generation = new Generation(sequences, { ...checked, streamInterval }, tokenizer, sink);
    for (const [i, sequence] of sequences.entries()) {
      this.#owners.set(sequence.id, { generation, completion: generation.completions[i]! });
      this.#scheduler.add(sequence);
    }
    this.#startDeadline(generation, checked.deadlineMilliseconds);
    this.#notify();
    return () => {
      generation.cancel();
      this.#drop(generation);
    };
  }

  stats(): Omit<EngineStats, "residentBytes" | "restarts"> {
    const { pages, hostPages, prefixQueryTokens, prefixHitTokens } = this.#kv.stats();
    return {
      running: this.#scheduler.runningCount,
      waiting: this.#scheduler.waitingCount,
      pages: { free: pages.free, cached: pages.cached, used: pages.used },
      hostPages: { free: hostPages.free, used: hostPages.used },
      promptTokens: this.#promptTokens,
      generationTokens: this.#generationTokens,
      prefixQueryTokens,
      prefixHitTokens,
      preemptions: this.#scheduler.preemptions,
      saturations: this.#saturations,
    };
  }

  /** Resolves when nothing runs, waits or is in flight. */
  whenIdle(): Promise<void> {
    if (this.#scheduler.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#idle.add(resolve));
  }

  /** Ends running requests with SHUTTING_DOWN and stops the heartbeat. The executable stays open. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#failAll(new KvantError("SHUTTING_DOWN", "the engine was closed while the request was running"));
    this.#notify();
    await this.#beating;
  }

  async #beat(): Promise<void> {
    let previous: Flight | undefined;
    while (!this.#isClosing || previous !== undefined) {
      const settling = previous;
      previous = undefined;
      try {
        previous = this.#isClosing ? undefined : this.#launch();
        if (settling !== undefined) this.#settle(settling.batch, await settling.outputs);
      } catch (error) {
        // What it takes apart must not be in use: either of the two may still run.
        await Promise.allSettled([settling?.outputs, previous?.outputs]);
        previous = undefined;
        this.#fault(error);
      }
      if (settling === undefined && previous === undefined) await this.#rest();
    }
    this.#tellIdle();
  }

  #launch(): Flight | undefined {
    const batch = this.#scheduler.next();
    if (batch === undefined) return undefined;
    for (const { sequence } of batch.rows) {
      // Whose first step this is has a row to set up.
      if (!sequence.needsRowUpdate) continue;
      const generation = this.#owners.get(sequence.id)?.generation;
      if (generation?.start()) this.#promptTokens += generation.promptTokens;
    }
    const outputs = this.#options.executable.submit(this.#packer.pack(batch));
    // Awaited when it settles; until then a failure is not an unhandled one.
    outputs.catch(() => undefined);
    return { batch, outputs };
  }

  #settle(batch: Batch, outputs: StepOutputs): void {
    this.#scheduler.settle(batch, outputs.sampledIds, (sequence, row, tokenId) => {
      const owner = this.#owners.get(sequence.id);
      if (owner === undefined) return;
      this.#generationTokens++;
      owner.generation.accept(owner.completion, tokenId, outputs, row);
      if (owner.generation.isOver) this.#drop(owner.generation);
      else if (owner.completion.isFinished) this.#end(sequence);
    });
    this.#saturations += outputs.saturations;
    if (this.#options.checkInvariant) this.#kv.checkInvariant();
    const { seconds, gapSeconds } = outputs;
    this.#options.onStep?.({ kind: batch.kind, seconds, gapSeconds, tokens: batch.tokenCount });
    this.#options.onFlush?.();
  }

  /** A completion has ended: its pages go with the step in flight. */
  #end(sequence: Sequence): void {
    this.#scheduler.finish(sequence);
    this.#owners.delete(sequence.id);
  }

  #drop(generation: Generation): void {
    for (const { sequence } of generation.completions) this.#end(sequence);
    this.#notify();
  }

  #failAll(error: unknown): void {
    for (const generation of new Set([...this.#owners.values()].map((owner) => owner.generation))) {
      generation.fail(error);
      for (const { sequence } of generation.completions) this.#end(sequence);
    }
  }

  /** A step failed: what it computed is unknown, so every request that runs or waits ends with the error. */
  #fault(error: unknown): void {
    this.#failAll(error);
    this.#scheduler.abandon();
    this.#options.onFlush?.();
    this.#options.onFault?.(error);
  }

  #startDeadline(generation: Generation, milliseconds: number | undefined): void {
    if (milliseconds === undefined) return;
    generation.startDeadline(milliseconds, () => {
      generation.fail(new KvantError("DEADLINE_EXCEEDED", `the request's deadline of ${milliseconds} ms has passed`));
      this.#drop(generation);
      this.#options.onFlush?.();
    });
  }

  #checkQueue(sequenceCount: number, tokenCount: number): void {
    const { waitingCount, waitingTokens } = this.#scheduler;
    if (waitingCount + sequenceCount > limit("queuedRequests")) {
      const sentence = `${waitingCount} sequences wait and ${sequenceCount} more are asked for; at most ${limit("queuedRequests")} may wait`;
      throw new KvantError("QUEUE_FULL", sentence);
    }
    if (waitingTokens + sequenceCount * tokenCount > limit("queuedTokens")) {
      const sentence = `${waitingTokens} prompt tokens wait and ${sequenceCount * tokenCount} more are asked for; at most ${limit("queuedTokens")} may wait`;
      throw new KvantError("QUEUE_FULL", sentence);
    }
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #tellIdle(): void {
    for (const resolve of this.#idle) resolve();
    this.#idle.clear();
  }

  async #rest(): Promise<void> {
    if (this.#scheduler.isIdle) this.#tellIdle();
    if (this.#isClosing) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}

function checkStreamInterval(tokens = 1): void {
  if (Number.isInteger(tokens) && tokens >= 1) return;
  const sentence = `streamInterval is ${tokens}; it must be an integer of at least 1`;
  throw new KvantError("INVALID_ARGUMENT", sentence, { field: "streamInterval" });
}
