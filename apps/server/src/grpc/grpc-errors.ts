import { Metadata, type ServerErrorResponse } from "@grpc/grpc-js";
import { errorCode, KvantError } from "@kvant/core";
import { publicMessage, statusOf } from "../error-statuses.ts";

/** An error as a gRPC status: number from the one table, sentence as details, code and field as trailers. */
export function serviceError(error: unknown): ServerErrorResponse {
  const code = errorCode(error);
  const details = publicMessage(error);
  const metadata = new Metadata();
  metadata.set("kvant-error-code", code);
  if (error instanceof KvantError && error.field !== undefined) metadata.set("kvant-error-field", error.field);
  return { name: "ServiceError", message: details, code: statusOf(code).grpc, details, metadata };
}
