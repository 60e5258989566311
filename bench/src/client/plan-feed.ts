import { KvantError } from "@kvant/core";
import type { PlannedRequest, Workload } from "../load/planned-request.ts";
import type { Dialogue } from "./load-driver.ts";
import type { LoadTarget } from "./load-target.ts";

export interface PlanFeedOptions {
  readonly target: LoadTarget;
  readonly workload: Workload;
  readonly isClosed: boolean;
  /** Infinity: all that the workload has. */
  readonly requestLimit: number;
}

/** Draws a workload on demand, a conversation at a time: its turns follow each other in the plan. */
export class PlanFeed {
  readonly #options: PlanFeedOptions;
  readonly #requests: Iterator<PlannedRequest>;
  #drawn = 0;
  #hasRunOut = false;
  #ahead: PlannedRequest | undefined;
  #dialogue: Dialogue | undefined;

  constructor(options: PlanFeedOptions) {
    this.#options = options;
    this.#requests = options.workload.requests();
    this.#ahead = this.#draw();
    this.#dialogue = this.#join();
  }

  /** What `take` would give; undefined when the plan is used up. */
  get next(): Dialogue | undefined {
    return this.#dialogue;
  }

  /** The plan ended by its count of requests, and not by a time after which nothing is due. */
  get hasRunOut(): boolean {
    return this.#hasRunOut;
  }

  /**
   * @throws KvantError INVALID_ARGUMENT for a request that the target's dialect cannot ask, or whose due time contradicts the load
   */
  take(): Dialogue | undefined {
    const taken = this.#dialogue;
    if (taken !== undefined) this.#dialogue = this.#join();
    return taken;
  }

  #join(): Dialogue | undefined {
    const first = this.#ahead;
    if (first === undefined) return undefined;
    const dialogue = [first];
    this.#ahead = this.#draw();
    while (first.turn !== undefined && this.#ahead?.turn?.conversation === first.turn.conversation) {
      dialogue.push(this.#ahead);
      this.#ahead = this.#draw();
    }
    this.#check(dialogue);
    return dialogue;
  }

  #draw(): PlannedRequest | undefined {
    const { requestLimit, workload } = this.#options;
    if (this.#drawn >= requestLimit) {
      this.#hasRunOut = true;
      return undefined;
    }
    const { done, value } = this.#requests.next();
    if (done) {
      this.#hasRunOut = workload.size !== undefined;
      return undefined;
    }
    this.#drawn++;
    return value;
  }

  #check(dialogue: Dialogue): void {
    const { isClosed, target } = this.#options;
    const { index, dueSeconds, turn } = dialogue[0]!;
    if ((dueSeconds === undefined) !== isClosed) {
      throw invalid(
        isClosed
          ? `request ${index} is due at ${dueSeconds} s; a load with a concurrency sends when an answer has ended`
          : `request ${index} has no due time; give a concurrency, or a workload with arrivals`,
      );
    }
    for (const [i, request] of dialogue.entries()) {
      if (turn !== undefined && request.turn?.number !== i) {
        throw invalid(
          `request ${request.index} is turn ${request.turn?.number} of its conversation, and not after turn ${i - 1}`,
        );
      }
      const refusal = refusedPrompt(target, request, dialogue.length);
      if (refusal !== undefined) throw invalid(`request ${request.index} ${refusal}`);
    }
  }
}

function refusedPrompt({ dialect }: LoadTarget, { prompt }: PlannedRequest, turns: number): string | undefined {
  if (prompt.kind === "tokens" && (dialect === "openai-chat" || turns > 1)) {
    return "asks with token ids, which a chat does not take";
  }
  if (dialect === "openai-completions" && (prompt.kind === "chat" || turns > 1)) {
    return "is a conversation, which /v1/completions does not take";
  }
  return undefined;
}

function invalid(sentence: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", sentence);
}
