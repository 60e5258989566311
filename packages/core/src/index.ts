export { type ErrorCode, errorCodes } from "./error-codes.ts";
export { errorCode, KvantError, type KvantErrorOptions } from "./kvant-error.ts";
export { type LimitName, limit, limits } from "./limits.ts";
