import {
  type Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import type { ChatMessage } from "../load/planned-request.ts";
import type { Answer, Failure } from "./answer.ts";
import { generationService } from "./generation-service.ts";
import type { LoadTarget } from "./load-target.ts";
import { type Cancel, chatMessages, type LoadTransport } from "./load-transport.ts";

/** An HTTP/2 connection is one TCP stream with one window, and servers bound its calls; a few carry hundreds. */
const connectionCount = 4;
const scheme = "grpc://";

/** What a message of the answer may hold (proto/kvant/v1/generation.proto, `GenerateResponse`). */
interface GenerateMessage {
  readonly delta?: { readonly text: string; readonly tokenIds: readonly number[] };
  readonly finish?: { readonly reason: string };
  readonly done?: {
    readonly usage: {
      readonly promptTokens: number;
      readonly cachedTokens: number;
      readonly completionTokens: number;
    } | null;
    readonly timings: { readonly queueSeconds: number } | null;
  };
}

type Generate = (request: object, metadata: Metadata) => ClientReadableStream<GenerateMessage>;

/** Streams of Kvant's own gRPC service. */
export class GrpcTransport implements LoadTransport {
  readonly #target: LoadTarget;
  readonly #metadata = new Metadata();
  readonly #clients: readonly Client[];
  #next = 0;

  static async open(target: LoadTarget): Promise<GrpcTransport> {
    return new GrpcTransport(target, await generationService());
  }

  private constructor(target: LoadTarget, Service: ServiceClientConstructor) {
    const address = target.url.startsWith(scheme) ? target.url.slice(scheme.length) : target.url;
    this.#target = target;
    if (target.apiKey !== undefined) this.#metadata.set("authorization", `Bearer ${target.apiKey}`);
    this.#clients = Array.from(
      { length: connectionCount },
      // Clients of one address share a connection unless each has its own pool.
      () => new Service(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 }),
    );
  }

  send(answer: Answer, history: readonly ChatMessage[]): Cancel {
    const request = this.#request(answer, history);
    const client = this.#clients[this.#next++ % connectionCount]!;
    answer.sentAt = answer.now();
    const call = (Reflect.get(client, "generate") as Generate).call(client, request, this.#metadata);
    call.on("data", (message: GenerateMessage) => take(message, answer));
    call.once("error", (error: ServiceError) => answer.end(failureOf(error, answer)));
    call.once("end", () =>
      answer.end({ kind: "cut-off", message: `the stream ended after ${answer.chunkCount} deltas` }),
    );
    return (failure) => {
      answer.end(failure);
      call.cancel();
    };
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  #request({ request }: Answer, history: readonly ChatMessage[]): object {
    const { prompt, maxTokens, isFixedLength } = request;
    const { model, temperature = 0 } = this.#target;
    const isConversation = prompt.kind === "chat" || history.length > 0;
    const asked = isConversation
      ? { chat: { messages: chatMessages(request, history) } }
      : prompt.kind === "tokens"
        ? { tokenIds: { ids: prompt.tokenIds } }
        : { text: prompt.text };
    return { model, ...asked, sampling: { temperature }, stopping: { maxTokens, ignoreEos: isFixedLength } };
  }
}

function take({ delta, finish, done }: GenerateMessage, answer: Answer): void {
  // Latin-1, as the answer takes its text: one character for each byte of UTF-8.
  if (delta) answer.chunk(Buffer.from(delta.text, "utf8").toString("latin1"), delta.tokenIds.length);
  if (finish) answer.finishReason = finish.reason === "FINISH_REASON_LENGTH" ? "length" : "stop";
  if (!done) return;
  const { usage, timings } = done;
  if (timings) answer.queueSeconds = timings.queueSeconds;
  const told = usage && {
    promptTokens: usage.promptTokens,
    outputTokens: usage.completionTokens,
    cachedTokens: usage.cachedTokens,
  };
  answer.complete(told ?? undefined, answer.finishReason);
}

function failureOf(error: ServiceError, answer: Answer): Failure {
  const message = `${status[error.code] ?? error.code}: ${error.details}`;
  if (error.code === status.UNAVAILABLE && answer.chunkCount === 0) return { kind: "connect", message };
  if (error.code === status.DEADLINE_EXCEEDED) return { kind: "deadline", message };
  if (answer.chunkCount === 0) return { kind: "status", status: error.code, message };
  return { kind: error.code === status.UNAVAILABLE ? "cut-off" : "stream-error", message };
}
