/** One message of a conversation, in the words of the chat API. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** What a request asks: text to go on from, ids for a server that takes them, or a conversation. */
export type PlannedPrompt =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "tokens"; readonly tokenIds: readonly number[] }
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] };

/** A request of the load before it is sent. Plain data: it travels to worker processes as it is. */
export interface PlannedRequest {
  /** 0, 1, 2, … in the order of the plan. */
  readonly index: number;
  readonly prompt: PlannedPrompt;
  /** Tokens in, where the workload knows them before a server counts. */
  readonly promptTokens?: number;
  readonly maxTokens: number;
  /** The answer shall have `maxTokens` tokens whatever the model would say (`ignore_eos`). */
  readonly isFixedLength: boolean;
  /** Seconds after the start of the load at which it is due, whether or not others have ended. Absent in a closed loop. */
  readonly dueSeconds?: number;
  /**
   * A turn of a conversation: due `thinkSeconds` after the turn before it has ended (in an open loop the first turn alone has
   * `dueSeconds`). Its prompt holds what the user says; the messages before it, answers included, are added when it is sent.
   */
  readonly turn?: { readonly conversation: number; readonly number: number; readonly thinkSeconds: number };
}

/** A load as a sequence that is drawn on demand: the same seed gives the same requests. */
export interface Workload {
  /** One line for reports: what is asked and how it arrives. */
  readonly description: string;
  /** Requests in all; undefined where only time bounds the load. */
  readonly size: number | undefined;
  /** In the order of `dueSeconds`; ends when the plan is used up. */
  requests(): IterableIterator<PlannedRequest>;
}
