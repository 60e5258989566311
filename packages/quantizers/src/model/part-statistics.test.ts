import { expect, test } from "vitest";
import { PlainRuntime, plainLayer, plainTensors } from "../../test/plain-runtime.ts";
import { normals, plainGram } from "../../test/random-matrices.ts";
import { collectStatistics, dividedStatistics, PartCollector, type PartStatistics } from "./part-statistics.ts";

const seed = 48_001;

test(`batches add up to what the formulas say of all tokens (seed ${seed})`, () => {
  const [tokens, width] = [23, 5];
  const x = normals(seed, tokens * width);
  const collector = new PartCollector(width, tokens);
  let start = 0;
  for (const size of [1, 9, 0, 13]) {
    collector.add(x.subarray(start * width, (start + size) * width), size);
    start += size;
  }
  const { gram, meanMagnitude, maxMagnitude, sample, sampleCount, tokenCount, magnitudes } = collector.statistics();
  expect([tokenCount, sampleCount]).toEqual([tokens, tokens]);
  expect(sample).toEqual(x);
  plainGram(x, tokens, width).forEach((sum, i) => {
    expect(gram.read()[i]).toBeCloseTo(sum, 10);
  });
  for (let channel = 0; channel < width; channel++) {
    const column = Array.from({ length: tokens }, (_, token) => Math.abs(x[token * width + channel]!));
    expect(meanMagnitude[channel]).toBeCloseTo(column.reduce((a, b) => a + b) / tokens, 6);
    expect(maxMagnitude[channel]).toBe(Math.max(...column));
  }
  expect(magnitudes.histogram().counts.reduce((a, b) => a + b)).toBe(tokens * width);
});

test("a long calibration is sampled at even distances over its batches", () => {
  const tokens = 1000;
  const collector = new PartCollector(1, tokens);
  for (let start = 0; start < tokens; start += 125) {
    collector.add(
      Float32Array.from({ length: 125 }, (_, i) => start + i),
      125,
    );
  }
  const { sample, sampleCount } = collector.statistics();
  expect([...sample]).toEqual(Array.from({ length: 250 }, (_, i) => 4 * i));
  expect(sampleCount).toBe(250);
});

test("nothing seen leaves zeros", () => {
  const { meanMagnitude, sampleCount, tokenCount } = new PartCollector(3, 0).statistics();
  expect([[...meanMagnitude], sampleCount, tokenCount]).toEqual([[0, 0, 0], 0, 0]);
});

test(`divided statistics are those of divided activations (seed ${seed})`, () => {
  const [tokens, width] = [12, 6];
  const x = normals(seed + 1, tokens * width);
  const scales = Float32Array.of(1, 2, 0.5, 3, 1.7, 10);
  const of = (values: Float32Array) => {
    const collector = new PartCollector(width, tokens);
    collector.add(values, tokens);
    return collector.statistics();
  };
  const divided = dividedStatistics(of(x), scales);
  const expected = of(x.map((value, i) => value / scales[i % width]!));
  expect(divided.sample).toEqual(expected.sample);
  for (const figures of [
    ({ gram }) => gram.read(),
    ({ meanMagnitude }) => meanMagnitude,
    ({ maxMagnitude }) => maxMagnitude,
  ] satisfies ((statistics: PartStatistics) => Float32Array | Float64Array)[]) {
    figures(divided).forEach((value, i) => {
      expect(value).toBeCloseTo(figures(expected)[i]!, 5);
    });
  }
});

test(`a layer's parts are collected in order from one pass (seed ${seed})`, async () => {
  const runtime = new PlainRuntime(seed, 1);
  const tensors = plainTensors(0, seed);
  const states = [runtime.embed(Int32Array.of(1, 2, 3, 4)), runtime.embed(Int32Array.of(7, 8))];
  const before = states.map((each) => each.slice());
  const statistics = await collectStatistics(runtime, 0, tensors, states, { states: "keep" });
  expect(states).toEqual(before);
  runtime.parts(0).forEach(({ modules, width }, index) => {
    const read = states.map((each) => Float32Array.from(plainLayer(0, tensors, each).read.get(modules[0]!)!));
    const sample = Float32Array.from(read.flatMap((each) => [...each]));
    expect(statistics[index]).toMatchObject({ width, tokenCount: 6, sample });
  });
  await collectStatistics(runtime, 0, tensors, states, { states: "replace" });
  expect(states[1]).toEqual(Float32Array.from(plainLayer(0, tensors, before[1]!).output));
});
