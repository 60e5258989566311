import { readFileSync } from "node:fs";
import { KvantError } from "@kvant/core";
import { describe, expect, test } from "vitest";
import { codeArray, decodeArray, encodeArray, roundTo } from "./arrays.ts";
import { bitsOf } from "./float32-bits.ts";
import type { FormatName } from "./format.ts";
import { format, formats } from "./registry.ts";

const fixtures = new URL("../test/number-formats/", import.meta.url);

function fixture(file: string): ArrayBuffer {
  const bytes = readFileSync(new URL(file, fixtures));
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
}

const input = new Float32Array(fixture("input.f32.bin"));

/** Every code of a format of 16 bits or fewer. */
function allCodes(name: FormatName) {
  const codes = codeArray(name, 2 ** formats[name].bits);
  return codes.map((_, code) => code);
}

const ownName = { fp16: "f16", bf16: "bf16", e4m3: "e4m3fn", e5m2: "e5m2", e2m1: "e2m1fn" } as const;
const floatNames = Object.keys(ownName) as (keyof typeof ownName)[];
const small = ["fp16", "bf16", "e4m3", "e5m2", "e2m1", "int8", "int4", "int3", "int2"] as const satisfies FormatName[];

describe.each(floatNames)("%s", (name) => {
  test("encodes 131,072 values to the codes of ml_dtypes", () => {
    const buffer = fixture(`${ownName[name]}.saturated.bin`);
    const expected = formats[name].bits === 16 ? new Uint16Array(buffer) : new Uint8Array(buffer);
    const codes = encodeArray(name, input);
    let compared = 0;
    for (let i = 0; i < input.length; i++) {
      if (Number.isNaN(input[i]!)) {
        // The oracle keeps NaN signs and payloads; here NaN has one code.
        expect(formats[name].decode(codes[i]!)).toEqual(formats[name].decode(expected[i]!));
      } else if (codes[i] !== expected[i]) {
        expect.fail(`${input[i]} became code ${codes[i]}, not ${expected[i]}`);
      }
      compared++;
    }
    expect(compared).toBe(131_072);
  });

  test("has as its largest value the largest finite one of all codes", () => {
    const finite = [...decodeArray(name, allCodes(name))].filter(Number.isFinite);
    expect(formats[name].max).toBe(Math.max(...finite));
    expect(Math.min(...finite)).toBe(-formats[name].max);
  });
});

test.each(["e4m3", "e5m2", "e2m1"] as const)("%s decodes every code to the value of ml_dtypes", (name) => {
  const expected = new Float32Array(fixture(`${ownName[name]}.table.f32.bin`));
  expect(decodeArray(name, allCodes(name))).toEqual(expected);
});

test("bf16 and fp16 decode every code as float32 arithmetic does", () => {
  const codes = allCodes("bf16");
  const upperHalves = decodeArray("bf16", codes);
  const patterns = bitsOf(upperHalves);
  for (let code = 0; code < 65536; code++) {
    if (Number.isNaN(upperHalves[code]!)) expect(code & 0x7fff).toBeGreaterThan(0x7f80);
    else if (patterns[code] !== code * 65536) expect.fail(`bf16 code ${code} became pattern ${patterns[code]}`);
  }
  // The fixture's first 65,536 inputs are all float16 patterns in order.
  expect(decodeArray("fp16", allCodes("fp16"))).toEqual(input.slice(0, 65536));
});

describe.each(small)("%s", (name) => {
  const { encode, decode, bits, max } = formats[name];

  test("gives every finite code back after decoding and encoding", () => {
    const codes = allCodes(name);
    const values = decodeArray(name, codes);
    for (const code of codes) {
      if (!Number.isFinite(values[code]!)) continue;
      if (encode(values[code]!) !== code) expect.fail(`code ${code} came back as ${encode(values[code]!)}`);
    }
    expect(codes.length).toBe(2 ** bits);
  });

  test("rounds to the nearest value, ties to the even code", () => {
    const codes = [...allCodes(name)].filter((code) => Number.isFinite(decode(code)));
    const ordered = codes.sort((a, b) => decode(a) - decode(b) || b - a).filter((code) => !Object.is(decode(code), -0));
    for (let i = 0; i + 1 < ordered.length; i++) {
      const [below, above] = [decode(ordered[i]!), decode(ordered[i + 1]!)];
      const middle = below + (above - below) / 2; // exact in float32: one more mantissa bit than the format has
      const even = (ordered[i]! & 1) === 0 ? below : above;
      const nudge = Math.abs(above - below) / 64;
      if (roundTo(name, middle) !== even) {
        expect.fail(`${middle} became ${roundTo(name, middle)}, not ${even}`);
      }
      if (name !== "bf16" && roundTo(name, middle - nudge) !== below) expect.fail(`below ${middle} is not ${below}`);
      if (name !== "bf16" && roundTo(name, middle + nudge) !== above) expect.fail(`above ${middle} is not ${above}`);
    }
    expect(ordered.length).toBeGreaterThan(0.9 * 2 ** bits);
  });

  test("saturates, infinities included", () => {
    const lowest = formats[name].kind === "integer" ? -max - 1 : -max;
    for (const beyond of [max * 1.5, 3.4e38, 1e300, Infinity]) {
      expect(roundTo(name, beyond)).toBe(max);
      expect(roundTo(name, -beyond)).toBe(lowest);
    }
  });

  test("encodes an array to what single values encode to", () => {
    const codes = encodeArray(name, input);
    const values = decodeArray(name, codes);
    for (let i = 0; i < input.length; i += 7) {
      if (codes[i] !== encode(input[i]!)) expect.fail(`${input[i]}: ${codes[i]} is not ${encode(input[i]!)}`);
      if (!Object.is(values[i], decode(codes[i]!))) expect.fail(`code ${codes[i]} decoded to ${values[i]}`);
    }
  });
});

test("NaN becomes the format's quiet NaN, or 0 where there is none", () => {
  const codes = Object.fromEntries(small.map((name) => [name, formats[name].encode(NaN)]));
  expect(codes).toEqual({
    ...{ fp16: 0x7e00, bf16: 0x7fc0, e4m3: 0x7f, e5m2: 0x7e },
    ...{ e2m1: 0, int8: 0, int4: 0, int3: 0, int2: 0 },
  });
  for (const name of ["fp16", "bf16", "e4m3", "e5m2"] as const) expect(roundTo(name, NaN)).toBeNaN();
});

test("integer codes are two's complement", () => {
  expect([-128, -1, 0, 127].map(formats.int8.encode)).toEqual([0x80, 0xff, 0, 0x7f]);
  expect([-8, -1, 0, 7].map(formats.int4.encode)).toEqual([0x8, 0xf, 0, 0x7]);
  expect([-4, -1, 0, 3].map(formats.int3.encode)).toEqual([0b100, 0b111, 0, 0b011]);
  expect([-2, -1, 0, 1].map(formats.int2.encode)).toEqual([0b10, 0b11, 0, 0b01]);
  expect([0.5, 1.5, 2.5, -0.5, -1.5].map((value) => roundTo("int8", value) + 0)).toEqual([0, 2, 2, 0, -2]);
});

test("fp32 keeps every float32, infinities included", () => {
  const codes = encodeArray("fp32", input);
  expect(codes).toEqual(bitsOf(input));
  expect(decodeArray("fp32", codes)).toEqual(input);
  expect(roundTo("fp32", Infinity)).toBe(Infinity);
  expect(roundTo("fp32", 0.1)).toBe(Math.fround(0.1));
});

test("a value that is not a float32 is rounded to one first", () => {
  const justAboveTie = 1 + 2 ** -8 + 2 ** -40; // rounds to the tie 1 + 2^-8 in float32, and then down to even
  expect(roundTo("bf16", justAboveTie)).toBe(1);
});

test("an unknown format is refused with the names there are", () => {
  for (const name of ["fp12", "toString", "__proto__"]) {
    expect(() => format(name)).toThrow(
      new KvantError(
        "FORMAT_UNKNOWN",
        `no number format is called "${name}"; there are fp32, fp16, bf16, e4m3, e5m2, e2m1, int8, int4, int3, int2`,
      ),
    );
  }
  expect(format("e4m3").max).toBe(448);
});

test("code arrays of the wrong length or width are refused", () => {
  expect(() => encodeArray("e4m3", new Float32Array(3), new Uint8Array(4))).toThrow("4 codes do not match 3 values");
  expect(() => encodeArray("bf16", new Float32Array(3), new Uint8Array(3))).toThrow("do not fit elements of 1 bytes");
  expect(() => decodeArray("fp32", new Uint16Array(3))).toThrow("do not fit elements of 2 bytes");
});
