import type { ErrorCode } from "./error-codes.ts";

/** An optional pointer to what is wrong: the request field, the tensor, the flag. */
export interface KvantErrorOptions extends ErrorOptions {
  readonly field?: string;
}

/** The one error class of Kvant: a code for machines, a sentence with the offending values for people. */
export class KvantError extends Error {
  override readonly name = "KvantError";
  readonly code: ErrorCode;
  /** The request field, tensor or flag at fault, where there is one. */
  readonly field: string | undefined;

  constructor(code: ErrorCode, message: string, options: KvantErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.field = options.field;
  }
}

/** The code of any thrown value: `INTERNAL` for what is not a KvantError. */
export function errorCode(error: unknown): ErrorCode {
  return error instanceof KvantError ? error.code : "INTERNAL";
}
