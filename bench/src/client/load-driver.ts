import type { ChatMessage, PlannedRequest } from "../load/planned-request.ts";
import type { RequestRecord } from "../load/request-record.ts";
import { Answer, type CountTokens } from "./answer.ts";
import { DueQueue } from "./due-queue.ts";
import type { LoadClock } from "./load-clock.ts";
import { type Cancel, chatMessages, type LoadTransport } from "./load-transport.ts";

/** A request, or the turns of one conversation, which follow each other. */
export type Dialogue = readonly PlannedRequest[];

export interface LoadDriverOptions {
  readonly clock: LoadClock;
  readonly transport: LoadTransport;
  /** Of a closed loop; absent: requests go out when they are due. */
  readonly users?: number;
  /** Nothing is sent at or after it; Infinity where there is no such time. */
  readonly stopAt: number;
  readonly deadlineSeconds: number;
  readonly countTokens?: CountTokens;
  readonly onRecord: (record: RequestRecord) => void;
  /** A dialogue has begun: there is room for another one. */
  readonly onTaken?: () => void;
  readonly onSent?: () => void;
  readonly onFirstToken?: (secondsSinceDue: number) => void;
  readonly onGap?: (seconds: number) => void;
  /** Nothing is open and nothing will come. */
  readonly onIdle: () => void;
}

/**
 * Sends requests when their time has come and follows their answers. In an open loop each dialogue begins at its due time,
 * whatever became of those before it. In a closed loop there are so many users: each holds one dialogue after the other, and
 * begins the next when its last answer has ended. Within a dialogue a turn is due when the answer before it has ended and its
 * user has thought; what follows a turn that failed is not sent, as it has nothing to answer to, and fails as cancelled.
 */
export class LoadDriver {
  readonly #options: LoadDriverOptions;
  readonly #due: DueQueue;
  /** Of a closed loop: dialogues that wait for a user. */
  #waiting: Dialogue[] = [];
  readonly #cancels = new Map<Answer, Cancel>();
  /** Dialogues that have not ended, those that wait for their time too. */
  #openCount = 0;
  #activeUsers = 0;
  #isPlanComplete = false;
  #isStopped = false;
  #isIdle = false;

  constructor(options: LoadDriverOptions) {
    this.#options = options;
    this.#due = new DueQueue(options.clock);
    if (Number.isFinite(options.stopAt)) this.#due.add(options.stopAt, () => this.stop());
  }

  get inFlight(): number {
    return this.#cancels.size;
  }

  /** Of the event loop, while it waited for a moment that is less than a timer away. */
  get idleSeconds(): number {
    return this.#due.idleSeconds;
  }

  /** In the order of the plan. */
  add(dialogues: readonly Dialogue[]): void {
    if (this.#isStopped) return;
    for (const dialogue of dialogues) {
      this.#openCount++;
      if (this.#options.users === undefined) this.#begin(dialogue, dialogue[0]?.dueSeconds ?? 0);
      else this.#waiting.push(dialogue);
    }
    this.#fillUsers();
  }

  /** No more dialogues will be added. */
  complete(): void {
    this.#isPlanComplete = true;
    this.#settle();
  }

  /** Nothing more is sent; what is open may end. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#isPlanComplete = true;
    this.#due.clear();
    this.#waiting = [];
    this.#openCount = this.#cancels.size;
    this.#settle();
  }

  /** Ends what is open, too. */
  cancel(): void {
    this.stop();
    for (const cancel of [...this.#cancels.values()]) {
      cancel({ kind: "cancelled", message: "the load was interrupted" });
    }
  }

  #fillUsers(): void {
    const { users, clock } = this.#options;
    if (users === undefined) return;
    while (this.#activeUsers < users) {
      const dialogue = this.#waiting.shift();
      if (dialogue === undefined) return;
      this.#activeUsers++;
      this.#begin(dialogue, Math.max(0, clock.now()));
    }
  }

  #begin(dialogue: Dialogue, dueAt: number): void {
    this.#at(dueAt, () => {
      this.#options.onTaken?.();
      this.#send(dialogue, 0, dueAt, []);
    });
  }

  #send(dialogue: Dialogue, turn: number, dueAt: number, history: readonly ChatMessage[]): void {
    const { clock, transport, deadlineSeconds, countTokens } = this.#options;
    const request = dialogue[turn]!;
    const hasNext = turn + 1 < dialogue.length;
    const answer = new Answer({
      request,
      dueAt,
      clock,
      keepsText: hasNext || countTokens !== undefined,
      onChunk: (gap) => {
        if (gap === undefined) this.#options.onFirstToken?.(clock.now() - dueAt);
        else this.#options.onGap?.(gap);
      },
      onEnd: () => {
        clearTimeout(deadline);
        this.#cancels.delete(answer);
        this.#options.onRecord(answer.record(countTokens));
        if (hasNext && !this.#isStopped) this.#next(dialogue, turn, answer, history);
        else this.#end();
      },
    });
    const deadline = setTimeout(() => {
      const message = `no complete answer within the deadline of ${deadlineSeconds} s, after ${answer.chunkCount} chunks`;
      this.#cancels.get(answer)?.({ kind: "deadline", message });
    }, deadlineSeconds * 1000);
    this.#options.onSent?.();
    this.#cancels.set(answer, transport.send(answer, history));
    // An answer that ended before its cancellation was known.
    if (answer.hasEnded) this.#cancels.delete(answer);
  }

  #next(dialogue: Dialogue, turn: number, answer: Answer, history: readonly ChatMessage[]): void {
    const { clock } = this.#options;
    const next = dialogue[turn + 1]!;
    if (answer.failure !== undefined) {
      for (const request of dialogue.slice(turn + 1)) this.#options.onRecord(unsent(request, clock.now()));
      this.#end();
      return;
    }
    const said: readonly ChatMessage[] = [
      ...(chatMessages(answer.request, history) ?? history),
      { role: "assistant", content: answer.text },
    ];
    const dueAt = clock.now() + (next.turn?.thinkSeconds ?? 0);
    this.#at(dueAt, () => this.#send(dialogue, turn + 1, dueAt, said));
  }

  /** What is due already runs without a turn of the event loop between. */
  #at(dueAt: number, run: () => void): void {
    if (dueAt <= this.#options.clock.now()) run();
    else this.#due.add(dueAt, run);
  }

  #end(): void {
    this.#openCount--;
    if (this.#options.users !== undefined) {
      this.#activeUsers--;
      this.#fillUsers();
    }
    this.#settle();
  }

  #settle(): void {
    if (this.#isIdle || !this.#isPlanComplete || this.#openCount > 0) return;
    this.#isIdle = true;
    this.#due.clear();
    this.#options.onIdle();
  }
}

/** A turn whose conversation broke off before it. */
function unsent(request: PlannedRequest, now: number): RequestRecord {
  return {
    index: request.index,
    dueAt: now,
    sentAt: now,
    endedAt: now,
    ...(request.promptTokens === undefined ? {} : { promptTokens: request.promptTokens }),
    outputTokens: 0,
    countedBy: "chunks",
    gaps: new Float32Array(0),
    failure: { kind: "cancelled", message: "the turn before it in its conversation failed" },
  };
}
