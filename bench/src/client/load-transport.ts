import type { ChatMessage, PlannedRequest } from "../load/planned-request.ts";
import type { Answer, Failure } from "./answer.ts";

/** Ends an answer that is still open, at once, as a failure of this kind. */
export type Cancel = (failure: Failure) => void;

/** How requests get to a server. It never throws: what goes wrong is the answer's failure. */
export interface LoadTransport {
  /**
   * Sends the request of an answer, sets its `sentAt`, hands on its chunks and ends it exactly once.
   * @param history what was said before it in its conversation
   */
  send(answer: Answer, history: readonly ChatMessage[]): Cancel;
  close(): void;
}

/** The messages of a request: its history, then what it asks. undefined for token ids, which are in no conversation. */
export function chatMessages(
  { prompt }: PlannedRequest,
  history: readonly ChatMessage[],
): readonly ChatMessage[] | undefined {
  switch (prompt.kind) {
    case "chat":
      return [...history, ...prompt.messages];
    case "text":
      return [...history, { role: "user", content: prompt.text }];
    case "tokens":
      return undefined;
    default:
      return prompt satisfies never;
  }
}
