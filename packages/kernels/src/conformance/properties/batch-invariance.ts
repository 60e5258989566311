import { absentKernels } from "../absent-kernels.ts";
import { prepare } from "../conformance-case.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { Random } from "../random.ts";
import { StepDriver } from "../step-driver.ts";
import { type TinyDecoder, tinyDecoder, tinyDecoders } from "../tiny-decoder.ts";
import { differentBits } from "./compare-bits.ts";

const seed = 29;
const sequenceLengths = [37, 1, 64, 18, 90];

/** How a run feeds the same sequences. */
interface Feeding {
  readonly name: string;
  readonly threads: number;
  /** Sequences side by side in each step, or one after the other. */
  readonly together: boolean;
  /** Tokens of a sequence per step. */
  readonly chunk: (random: Random) => number;
  readonly shufflePages: boolean;
}

const alone: Feeding = { name: "alone", threads: 2, together: false, chunk: () => 128, shufflePages: false };

const feedings: readonly Feeding[] = [
  { ...alone, name: "in a batch of mixed rows", together: true },
  { ...alone, name: "in chunks of 16", chunk: () => 16 },
  { ...alone, name: "token by token", chunk: () => 1 },
  {
    ...alone,
    name: "in ragged chunks beside others, on shuffled pages",
    together: true,
    chunk: (r) => r.integer(1, 23),
    shufflePages: true,
  },
  { ...alone, name: "with one thread", threads: 1, together: true, chunk: (r) => r.integer(1, 23) },
  { ...alone, name: "with four threads", threads: 4, together: true, chunk: (r) => r.integer(1, 23) },
];

/** A sequence's logits are the same bits however its tokens are batched, chunked, paged and spread over threads. */
export const batchChecks: readonly ConformanceCheck[] = tinyDecoders.map((kind) => ({
  group: "batch invariance",
  needsExact: true,
  name: `${kind.name}: batches, chunks, page order and threads leave the bits of a lone run`,
  absentOn: absentKernels(kind.activation),
  run: async (create: BackendFactory) => {
    const expected = await logitsOf(kind, alone, create);
    const failures: string[] = [];
    for (const feeding of feedings) {
      const actual = await logitsOf(kind, feeding, create);
      expected.forEach((logits, sequence) => {
        const where = `sequence ${sequence} ${feeding.name} (seed ${seed})`;
        const difference = differentBits(where, actual[sequence]!, logits);
        if (difference !== undefined) failures.push(difference);
      });
    }
    return failures;
  },
}));

/** `[sequences]` logits `[tokens, vocabSize]`. */
async function logitsOf(kind: TinyDecoder, feeding: Feeding, create: BackendFactory): Promise<Float32Array[]> {
  const random = new Random(seed);
  const setup = tinyDecoder(kind, seed);
  const { vocabSize } = setup.plan;
  const sequences = sequenceLengths.map((length) => random.tokenIds(length, vocabSize));
  const executable = prepare(setup, create({ threads: feeding.threads }));
  const driver = new StepDriver(executable, setup.options, (pages) =>
    feeding.shufflePages ? random.shuffled(pages) : pages,
  );
  const logits = sequences.map(({ length }) => new Float32Array(length * vocabSize));
  const done = sequences.map(() => 0);
  while (done.some((count, i) => count < sequences[i]!.length)) {
    const unfinished = sequences.map((_, i) => i).filter((i) => done[i]! < sequences[i]!.length);
    const chosen = feeding.together ? random.shuffled(unfinished) : unfinished.slice(0, 1);
    let room = setup.options.maxTokens;
    const rows = chosen.flatMap((i) => {
      const count = Math.min(feeding.chunk(random), sequences[i]!.length - done[i]!, room);
      room -= count;
      return count === 0
        ? []
        : [{ slot: i, tokenIds: sequences[i]!.slice(done[i], done[i]! + count), wants: "logits" as const }];
    });
    const outputs = await driver.step(rows);
    let row = 0;
    for (const { slot, tokenIds } of rows) {
      const part = outputs.logits.subarray(row * vocabSize, (row + tokenIds.length) * vocabSize);
      logits[slot]!.set(part, done[slot]! * vocabSize);
      row += tokenIds.length;
      done[slot] = done[slot]! + tokenIds.length;
    }
  }
  await executable.close();
  return logits;
}
