/**
 * Every error code of Kvant with its meaning. A code is for machines and never changes; the sentence on the error is for
 * people and carries the offending values. `apps/server` maps codes to HTTP and gRPC statuses.
 */
export const errorCodes = {
  // Misuse of a library call: the caller passed what the contract excludes.
  INVALID_ARGUMENT: "An argument is outside what the call accepts.",
  INTERNAL: "An invariant of Kvant does not hold: a bug.",

  // Requests.
  REQUEST_INVALID: "A request field has the wrong type or an impossible value.",
  REQUEST_TOO_LARGE: "A request exceeds a limit.",
  CONTEXT_EXCEEDED: "Prompt and requested tokens do not fit the model's context.",
  TOKEN_OUT_OF_RANGE: "A token id is not in the vocabulary.",
  MODEL_NOT_FOUND: "The request names a model that is not served.",
  TOKENIZER_ABSENT: "Text was given to a model that has no tokenizer.",
  CHAT_TEMPLATE_ABSENT: "Chat messages were given to a model that has no chat template.",
  UNAUTHORIZED: "An API key is missing or unknown.",
  FORBIDDEN: "The key is known but may not use this route.",
  QUEUE_FULL: "The waiting queue has reached its limit; try again later.",
  DEADLINE_EXCEEDED: "The request's deadline has passed.",
  CANCELLED: "The caller cancelled the request.",
  SHUTTING_DOWN: "The server is draining and takes no new requests.",
  ENGINE_DIED: "The engine process ended while the request was running.",
  ENGINE_NOT_READY: "The engine is starting or restarting.",
  ROUTE_NOT_FOUND: "No route of that path is served.",
  METHOD_NOT_ALLOWED: "The route exists and takes another HTTP method.",
  MEDIA_TYPE_UNSUPPORTED: "A request body is not JSON.",
  KEY_FILE_INVALID: "A file of API keys is unreadable, empty or holds an impossible key.",
  LISTEN_FAILED: "A port could not be opened.",

  // Checkpoints and configuration.
  CHECKPOINT_NOT_FOUND: "A checkpoint file or folder does not exist.",
  CHECKPOINT_TRUNCATED: "A checkpoint file ends before what its header promises.",
  CHECKPOINT_INVALID: "A checkpoint file contradicts its format.",
  TENSOR_MISSING: "A tensor that the architecture needs is absent.",
  TENSOR_SHAPE: "A tensor's shape or dtype is not what the configuration implies.",
  SCALE_MISSING: "A static quantization scale is needed and absent.",
  CONFIG_INVALID: "config.json lacks a field or holds an impossible value.",
  ARCHITECTURE_UNKNOWN: "No architecture of that name is registered.",
  FORMAT_UNKNOWN: "No number format, weight format or KV format of that name is registered.",
  WEIGHT_NOT_FINITE: "A weight that is to be quantized holds NaN or an infinity.",
  METHOD_NOT_BUILT: "The quantization method is known but not part of this release.",
  QUANTIZATION_UNSUPPORTED:
    "A dialect or a scheme of quantized checkpoints is not part of this release, or cannot hold a format.",
  DISK_FULL: "A file system has no room for what is written; nothing partial is left.",
  WRITE_FAILED: "A file or folder cannot be written.",

  // Backends.
  BACKEND_UNAVAILABLE: "A backend or device is not present on this machine or in this build.",
  NATIVE_NOT_FOUND: "The native addon could not be loaded.",
  NATIVE_FAILED: "The native backend reported a failure.",
  OUT_OF_MEMORY: "An allocation failed.",
  OP_UNSUPPORTED: "A backend has no kernel for an op with these attributes.",

  // KV cache.
  KV_INVARIANT: "The page accounting is inconsistent: a bug.",
  KV_TOO_SMALL: "The page pool cannot hold even one sequence of the requested length.",
} as const;

export type ErrorCode = keyof typeof errorCodes;
