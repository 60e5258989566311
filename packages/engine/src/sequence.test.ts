import { expect, test } from "vitest";
import { run, sequence } from "./testing/sequences.ts";

test("outputs follow the prompt, which stays as it was given", () => {
  const one = sequence({ id: 1, prompt: [5, 6, 7], maxTokens: 300 });
  expect(one.knownIds()).toEqual(Int32Array.of(5, 6, 7));
  const outputs = run(1000, 300);
  for (const [count, tokenId] of outputs.entries()) {
    expect(one.outputCount).toBe(count);
    expect(one.tokenAt(3 + count)).toBeUndefined();
    one.addOutput(tokenId);
    expect(one.tokenAt(3 + count)).toBe(tokenId);
  }
  expect(one.knownTokens).toBe(303);
  expect([...one.outputIds]).toEqual(outputs);
  expect([...one.knownIds()]).toEqual([5, 6, 7, ...outputs]);
  expect([...one.knownIds(4)]).toEqual([5, 6, 7, 1000]);
  expect(one.promptIds).toEqual(Int32Array.of(5, 6, 7));
});

test("views taken before an output stay what they were", () => {
  const one = sequence({ id: 1, prompt: run(1, 100), maxTokens: 200 });
  one.addOutput(7);
  const [known, outputs] = [one.knownIds(), one.outputIds];
  for (const tokenId of run(500, 150)) one.addOutput(tokenId);
  expect([...known]).toEqual([...run(1, 100), 7]);
  expect([...outputs]).toEqual([7]);
});
