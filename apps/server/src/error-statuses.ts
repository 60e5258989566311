import { type ErrorCode, errorCode, KvantError } from "@kvant/core";

/** How one error code looks to clients. */
export interface ErrorStatus {
  readonly http: number;
  /** OpenAI's `error.type`. */
  readonly type: string;
  /** OpenAI's `error.code`. */
  readonly code: string;
  /** Number of the gRPC status, as in `@grpc/grpc-js`'s `status`; spelled out so that HTTP alone does not load gRPC. */
  readonly grpc: number;
  /** Seconds after which a client may try again; sent as Retry-After. */
  readonly retryAfterSeconds?: number;
}

// gRPC status numbers: https://grpc.io/docs/guides/status-codes/
const grpc = {
  cancelled: 1,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

function refusal(http: number, code: string, grpcStatus: number): ErrorStatus {
  return { http, type: "invalid_request_error", code, grpc: grpcStatus };
}

/** The one table from error code to status. A code that is not here is ours to answer for: 500. */
const statuses: Readonly<Partial<Record<ErrorCode, ErrorStatus>>> = {
  REQUEST_INVALID: refusal(400, "invalid_value", grpc.invalidArgument),
  INVALID_ARGUMENT: refusal(400, "invalid_value", grpc.invalidArgument),
  CONTEXT_EXCEEDED: refusal(400, "context_length_exceeded", grpc.invalidArgument),
  TOKEN_OUT_OF_RANGE: refusal(400, "token_out_of_range", grpc.invalidArgument),
  TOKENIZER_ABSENT: refusal(400, "tokenizer_absent", grpc.failedPrecondition),
  CHAT_TEMPLATE_ABSENT: refusal(400, "chat_template_absent", grpc.failedPrecondition),
  KV_TOO_SMALL: refusal(400, "kv_cache_too_small", grpc.resourceExhausted),
  UNAUTHORIZED: refusal(401, "invalid_api_key", grpc.unauthenticated),
  FORBIDDEN: { http: 403, type: "permission_error", code: "insufficient_permissions", grpc: grpc.permissionDenied },
  MODEL_NOT_FOUND: refusal(404, "model_not_found", grpc.notFound),
  ROUTE_NOT_FOUND: refusal(404, "unknown_url", grpc.unimplemented),
  METHOD_NOT_ALLOWED: refusal(405, "method_not_allowed", grpc.unimplemented),
  REQUEST_TOO_LARGE: refusal(413, "request_too_large", grpc.resourceExhausted),
  MEDIA_TYPE_UNSUPPORTED: refusal(415, "unsupported_media_type", grpc.invalidArgument),
  QUEUE_FULL: {
    http: 429,
    type: "rate_limit_error",
    code: "queue_full",
    grpc: grpc.resourceExhausted,
    retryAfterSeconds: 1,
  },
  // nginx's status for a client that has gone; nobody reads it but the log.
  CANCELLED: { http: 499, type: "invalid_request_error", code: "cancelled", grpc: grpc.cancelled },
  SHUTTING_DOWN: unavailable("shutting_down", 10),
  ENGINE_DIED: unavailable("engine_died", 2),
  ENGINE_NOT_READY: unavailable("engine_not_ready", 2),
  DEADLINE_EXCEEDED: { http: 504, type: "server_error", code: "deadline_exceeded", grpc: grpc.deadlineExceeded },
};

function unavailable(code: string, retryAfterSeconds: number): ErrorStatus {
  return { http: 503, type: "server_error", code, grpc: grpc.unavailable, retryAfterSeconds };
}

const internal: ErrorStatus = { http: 500, type: "server_error", code: "internal_error", grpc: grpc.internal };

export function statusOf(code: ErrorCode): ErrorStatus {
  return statuses[code] ?? internal;
}

/** OpenAI's error object. */
export interface OpenAIErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

/** What a client may read of an error: the sentence of a KvantError, nothing of a foreign one. */
export function publicMessage(error: unknown): string {
  return error instanceof KvantError ? error.message : "internal error; the server's log has the cause";
}

export function errorBody(error: unknown): OpenAIErrorBody {
  const { type, code } = statusOf(errorCode(error));
  const field = error instanceof KvantError ? error.field : undefined;
  return { error: { message: publicMessage(error), type, param: field ?? null, code } };
}
