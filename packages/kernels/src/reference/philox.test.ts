import { expect, test } from "vitest";
import { philox4x32, uniform } from "./philox.ts";

// The known-answer vectors that the authors publish with Random123 (kat_vectors, philox4x32 with 10 rounds).
test.each([
  { counter: [0, 0, 0, 0], key: [0, 0], words: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
  {
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    key: [0xffffffff, 0xffffffff],
    words: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    key: [0xa4093822, 0x299f31d0],
    words: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
] as const)("Philox gives the published words for key $key", ({ counter, key, words }) => {
  expect(philox4x32(key, counter)).toEqual(words);
});

test("a uniform number is the middle of the step that the first word names", () => {
  expect(uniform([0, 0], 0)).toBe((0x6627e8d5 + 0.5) / 2 ** 32);
});
