import type { ChatMessage } from "../../load/planned-request.ts";
import type { Answer } from "../answer.ts";
import type { Cancel, LoadTransport } from "../load-transport.ts";

export interface SentRequest {
  readonly answer: Answer;
  readonly history: readonly ChatMessage[];
}

/** Answers as a test says, when it says so. */
export class FakeTransport implements LoadTransport {
  readonly sent: SentRequest[] = [];
  readonly #onSend: (request: SentRequest, number: number) => void;
  isClosed = false;

  constructor(onSend: (request: SentRequest, number: number) => void = () => undefined) {
    this.#onSend = onSend;
  }

  send(answer: Answer, history: readonly ChatMessage[]): Cancel {
    answer.sentAt = answer.now();
    const request = { answer, history };
    this.sent.push(request);
    this.#onSend(request, this.sent.length - 1);
    return (failure) => answer.end(failure);
  }

  close(): void {
    this.isClosed = true;
  }
}
