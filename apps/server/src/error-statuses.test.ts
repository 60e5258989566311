import { status } from "@grpc/grpc-js";
import { type ErrorCode, errorCodes, KvantError } from "@kvant/core";
import { describe, expect, test } from "vitest";
import { errorBody, statusOf } from "./error-statuses.ts";

describe("the table of statuses", () => {
  test("gives every error code an HTTP error and a gRPC error", () => {
    for (const code of Object.keys(errorCodes) as ErrorCode[]) {
      const row = statusOf(code);
      expect([code, row.http >= 400 && row.http < 600]).toEqual([code, true]);
      expect([code, row.grpc > status.OK && row.grpc <= status.UNAUTHENTICATED]).toEqual([code, true]);
    }
  });

  test.each([
    ["REQUEST_INVALID", 400, status.INVALID_ARGUMENT],
    ["UNAUTHORIZED", 401, status.UNAUTHENTICATED],
    ["FORBIDDEN", 403, status.PERMISSION_DENIED],
    ["MODEL_NOT_FOUND", 404, status.NOT_FOUND],
    ["REQUEST_TOO_LARGE", 413, status.RESOURCE_EXHAUSTED],
    ["QUEUE_FULL", 429, status.RESOURCE_EXHAUSTED],
    ["CANCELLED", 499, status.CANCELLED],
    ["INTERNAL", 500, status.INTERNAL],
    ["KV_INVARIANT", 500, status.INTERNAL],
    ["ENGINE_NOT_READY", 503, status.UNAVAILABLE],
    ["DEADLINE_EXCEEDED", 504, status.DEADLINE_EXCEEDED],
  ] as const)("maps %s to %i and the gRPC status of that meaning", (code, http, grpc) => {
    expect(statusOf(code)).toMatchObject({ http, grpc });
  });

  test("asks to come back later exactly where that helps", () => {
    const retried = (Object.keys(errorCodes) as ErrorCode[]).filter((code) => statusOf(code).retryAfterSeconds);
    expect(retried.sort()).toEqual(["ENGINE_DIED", "ENGINE_NOT_READY", "QUEUE_FULL", "SHUTTING_DOWN"]);
  });
});

describe("errorBody", () => {
  test("carries a KvantError's sentence and field", () => {
    expect(errorBody(new KvantError("REQUEST_INVALID", "n is 9; it must be at most 8", { field: "n" }))).toEqual({
      error: {
        message: "n is 9; it must be at most 8",
        type: "invalid_request_error",
        param: "n",
        code: "invalid_value",
      },
    });
  });

  test("tells clients nothing of a foreign error", () => {
    const { error } = errorBody(new Error("password of the database is hunter2"));
    expect(error).toMatchObject({ type: "server_error", code: "internal_error", param: null });
    expect(error.message).not.toContain("hunter2");
  });
});
