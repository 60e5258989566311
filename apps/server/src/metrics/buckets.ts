/** 0.5 ms to 60 s, three to four buckets a decade: a p99 read from them is within 40 % of the truth anywhere. */
export const secondsBuckets: number[] = [
  0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1,
  1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60,
];

/** Tokens of one step: from a lone decode to the largest prefill chunk. */
export const stepTokenBuckets: number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];
