import type { Socket } from "node:net";
import { KvantError, limit } from "@kvant/core";
import type { FastifyError } from "fastify";
import { errorBody } from "../error-statuses.ts";

/** Any error of a request as a KvantError where it is the request's fault; ours and foreign ones pass as they are. */
export function requestError(error: unknown): unknown {
  if (error instanceof KvantError || !(error instanceof Error)) return error;
  const { code, statusCode } = error as FastifyError;
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new KvantError("REQUEST_TOO_LARGE", `the request body exceeds the limit of ${limit("bodyBytes")} bytes`);
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return new KvantError("MEDIA_TYPE_UNSUPPORTED", "the request body must be of content-type application/json");
    case "FST_ERR_CTP_EMPTY_JSON_BODY":
      return new KvantError("REQUEST_INVALID", "the request body is empty; it must be a JSON object");
    default:
  }
  if (statusCode === undefined || statusCode < 400 || statusCode >= 500) return error;
  const isJson = error instanceof SyntaxError || code === "FST_ERR_CTP_INVALID_JSON_BODY";
  return new KvantError("REQUEST_INVALID", isJson ? "the request body is not valid JSON" : error.message);
}

/** Answers bytes that are not HTTP, or headers beyond the limit; there is no request object yet. */
export function answerClientError(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || socket.destroyed || !socket.writable) return;
  const overflow = error.code === "HPE_HEADER_OVERFLOW";
  const timeout = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const status = overflow ? "431 Request Header Fields Too Large" : timeout ? "408 Request Timeout" : "400 Bad Request";
  const message = overflow
    ? `the request's headers exceed the limit of ${limit("headerBytes")} bytes`
    : timeout
      ? "the request did not arrive in time"
      : "the request is not HTTP/1.1";
  const body = JSON.stringify(errorBody(new KvantError("REQUEST_INVALID", message)));
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `connection: close\r\n\r\n${body}`,
  );
}
