import type { LoadResult } from "../load/load-result.ts";

export type Dialect = LoadResult["server"]["dialect"];

/** Whom the load asks, and how. Plain data: it travels to worker processes as it is. */
export interface LoadTarget {
  /** `http://host:port` or `https://…`, a path before `/v1` kept; `grpc://host:port` for kvant-grpc. */
  readonly url: string;
  readonly dialect: Dialect;
  /** Sent with every request. */
  readonly model: string;
  /** Sent as a bearer token. */
  readonly apiKey?: string;
  /** Fields of every request's JSON body, over what the client writes itself; of HTTP dialects alone. */
  readonly extraBody?: Readonly<Record<string, unknown>>;
  /** Drawing: 0, the default, is greedy. */
  readonly temperature?: number;
  /** Folder of a checkpoint whose tokenizer counts the answers of a server that does not tell. */
  readonly tokenizerFolder?: string;
}
