import { tinyModelPath } from "@kvant/tiny-model";
import { describe, expect, test } from "vitest";
import {
  byteCount,
  decimal,
  engineOptions,
  formatNames,
  nonNegativeInteger,
  port,
  positiveInteger,
  tokenIds,
} from "./model-options.ts";

describe("flag values", () => {
  test.each([
    ["512MiB", 512 * 2 ** 20],
    ["2G", 2e9],
    ["1.5kib", 1536],
    ["1000000", 1_000_000],
    ["64 MB", 64e6],
  ])("%s is a size", (text, bytes) => {
    expect(byteCount(text)).toBe(bytes);
  });

  test.each(["", "12XB", "-1G", "G", "1e9", "1 2"])('"%s" is no size', (text) => {
    expect(() => byteCount(text)).toThrow(/not a size such as/);
  });

  test("token ids are separated by commas, with or without spaces", () => {
    expect(tokenIds("1, 2,3")).toEqual([1, 2, 3]);
    for (const text of ["", "1,,2", "1,", "x", "1.5", "-1", "0x10", "1e3"]) {
      expect(() => tokenIds(text)).toThrow(/is not a token id/);
    }
  });

  test("numbers are whole or decimal as their flag asks, and never empty", () => {
    expect([positiveInteger("7"), nonNegativeInteger("0"), decimal("-0.5"), port("65535")]).toEqual([
      7, 0, -0.5, 65535,
    ]);
    for (const text of ["", "0", "1.5", "x"]) expect(() => positiveInteger(text)).toThrow(/positive integer/);
    for (const text of ["", "-1", "1.5"]) expect(() => nonNegativeInteger(text)).toThrow(/at least 0/);
    for (const text of ["", "x", "Infinity"]) expect(() => decimal(text)).toThrow(/not a number/);
    expect(() => port("65536")).toThrow(/65535/);
  });

  test("lists of formats are separated by commas; no list is one default", () => {
    expect(formatNames("int8, bf16")).toEqual(["int8", "bf16"]);
    expect(formatNames(undefined)).toEqual([undefined]);
  });
});

describe("engine options", () => {
  test("no model and `tiny` are the built-in one", () => {
    const builtIn = { model: tinyModelPath, servedModelName: "tiny" };
    expect(engineOptions(undefined, {})).toEqual(builtIn);
    expect(engineOptions("tiny", {})).toEqual(builtIn);
    expect(engineOptions("some/folder", {})).toEqual({ model: "some/folder" });
  });

  test("hold only what was given, and --backend decides over --device", () => {
    expect(engineOptions("m", { device: "cpu", backend: "reference", kvMemory: 5, swapMemory: 0, threads: 2 })).toEqual(
      {
        model: "m",
        device: "reference",
        kvMemoryBytes: 5,
        swapMemoryBytes: 0,
        threads: 2,
      },
    );
  });
});
