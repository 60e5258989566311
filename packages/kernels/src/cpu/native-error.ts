import { type ErrorCode, errorCodes, KvantError } from "@kvant/core";

/** Runs a call into the addon; what it throws becomes a KvantError with the addon's code, or NATIVE_FAILED. */
export function callNative<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw nativeError(error);
  }
}

/** A failure of the addon as a KvantError. */
export function nativeError(error: unknown): KvantError {
  if (error instanceof KvantError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return new KvantError(isErrorCode(code) ? code : "NATIVE_FAILED", `native backend: ${message}`, { cause: error });
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(errorCodes, code);
}
