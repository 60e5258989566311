import { KvantError } from "@kvant/core";
import { expect, test } from "vitest";
import { namingFlags } from "./flag-errors.ts";

const refusal = (sentence: string, field?: string) => () =>
  namingFlags(() => {
    throw new KvantError("INVALID_ARGUMENT", sentence, field === undefined ? {} : { field });
  });

test.each([
  ["durationSeconds", "durationSeconds is -1, not above 0", "--duration is -1, not above 0"],
  ["rate", "rate is 2000000, not a number", "--rate is 2000000, not a number"],
  ["rampTo", "a ramp has both rampFrom and rampTo", "a ramp has both --ramp-from and --ramp-to"],
  [
    "datasetFile",
    "the dataset trace is read from a file; give datasetFile",
    "the dataset trace is read from a file; give --dataset-file",
  ],
  [
    "turns",
    "turns is for synthetic conversations; /tmp/myFile.json brings its own",
    "--turns is for synthetic conversations; /tmp/myFile.json brings its own",
  ],
])("an error about %s names the flag", (field, sentence, named) => {
  expect(refusal(sentence, field)).toThrow(
    expect.objectContaining({ code: "INVALID_ARGUMENT", message: named, field }),
  );
});

test("other errors and results come through as they are", () => {
  expect(refusal("rampFrom stays")).toThrow("rampFrom stays");
  expect(() =>
    namingFlags(() => {
      throw new TypeError("a bug in durationSeconds");
    }),
  ).toThrow(new TypeError("a bug in durationSeconds"));
  expect(namingFlags(() => 7)).toBe(7);
});
