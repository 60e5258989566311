interface Limit {
  readonly value: number;
  /** Why this number and not another. */
  readonly reason: string;
}

/** Every limit on outside data, in one place. Sizes are bytes, times are milliseconds, the rest are counts. */
export const limits = {
  bodyBytes: {
    value: 2 * 1024 * 1024,
    reason: "A 128k-token prompt in English is about 600 kB; 2 MB leaves room for other scripts.",
  },
  headerBytes: { value: 16 * 1024, reason: "Node's default; larger headers are cookies that an API has no use for." },
  completionsPerRequest: { value: 8, reason: "`n` multiplies memory and time; 8 covers best-of sampling." },
  promptsPerRequest: { value: 128, reason: "Evaluation harnesses batch up to 128; each prompt is a queued request." },
  chatMessages: { value: 4096, reason: "More turns than any context holds; each costs a template iteration." },
  cacheSaltBytes: { value: 256, reason: "Hashed into every page key; a tenant id or a digest fits." },
  stopStrings: { value: 16, reason: "Every stop string is searched in every delta." },
  stopStringBytes: { value: 256, reason: "A stop string holds back as much text as it is long." },
  stopTokenIds: { value: 64, reason: "Checked for every token." },
  logitBiasEntries: { value: 1024, reason: "Uploaded once per request and applied at every token." },
  topLogprobs: { value: 20, reason: "OpenAI's own limit." },
  concurrentSequences: { value: 256, reason: "Row slots of a step; past it throughput no longer grows." },
  queuedRequests: {
    value: 1024,
    reason: "A queue longer than this answers with 429 instead of growing without bound.",
  },
  queuedTokens: { value: 8 * 1024 * 1024, reason: "Bounds the memory of waiting prompts to about 64 MB." },
  safetensorsHeaderBytes: { value: 100_000_000, reason: "The cap of the reference implementation of safetensors." },
  safetensorsTensors: { value: 1_000_000, reason: "Large mixture-of-experts checkpoints hold some 100k tensors." },
  tensorDimensions: { value: 8, reason: "No weight has more axes; a lying header may claim millions." },
  checkpointShards: { value: 10_000, reason: "The largest public checkpoints have some hundreds of shards." },
  modelDimension: {
    value: 1 << 20,
    reason: "Hidden, inner and head counts of the largest models stay under 2^17; products of two stay safe integers.",
  },
  modelLayers: { value: 1024, reason: "The deepest public models have about 130 layers." },
  vocabulary: { value: 1 << 22, reason: "The largest public vocabularies hold about 262,000 tokens." },
  contextTokens: { value: 1 << 24, reason: "The longest advertised context is 10 million tokens." },
  configBytes: { value: 16 * 1024 * 1024, reason: "config.json is a few kB; an index of 100k tensors about 10 MB." },
  tokenizerBytes: { value: 256 * 1024 * 1024, reason: "The largest public tokenizer.json is about 35 MB." },
} as const satisfies Record<string, Limit>;

export type LimitName = keyof typeof limits;

/** The number of a limit. */
export function limit(name: LimitName): number {
  return limits[name].value;
}
