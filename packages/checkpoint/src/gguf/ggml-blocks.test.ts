import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { dequantizeBlocks, readGguf } from "../../test/read-gguf.ts";
import { sharedData, sharedDataAbsent } from "../../test/shared-data.ts";
import { readSafetensors } from "../read-safetensors.ts";
import { toFloat32 } from "../tensor.ts";
import { encodeGgml, ggmlTypes } from "./ggml-blocks.ts";

const seed = 20_261;

function randomValues(count: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

describe("blocks", () => {
  test.each(["Q8_0", "Q4_0"] as const)("of %s decode to within their step of the values (seed 20261)", (type) => {
    const values = randomValues(32 * 50);
    const decoded = dequantizeBlocks(ggmlTypes[type].id, encodeGgml(type, values));
    for (let start = 0; start < values.length; start += 32) {
      const largest = Math.max(...values.subarray(start, start + 32).map(Math.abs));
      // Half a step, and fp16's rounding of the scale. In Q4_0 the end away from the largest value clips by up to a step.
      const step = type === "Q8_0" ? largest / 254 : largest / 8;
      for (let i = start; i < start + 32; i++) {
        expect(Math.abs(decoded[i]! - values[i]!)).toBeLessThanOrEqual(step + largest * 2 ** -11);
      }
    }
  });

  test("of zeros are zeros, with a scale of zero", () => {
    expect(encodeGgml("Q8_0", new Float32Array(32))).toEqual(new Uint8Array(34));
    expect(dequantizeBlocks(2, encodeGgml("Q4_0", new Float32Array(32))).every((value) => value === 0)).toBe(true);
  });

  test("are refused when the values do not fill them", () => {
    expect(() => encodeGgml("Q4_0", new Float32Array(33))).toThrow("33 values do not fill Q4_0 blocks, which hold 32");
  });
});

describe.skipIf(sharedDataAbsent !== undefined)("public vectors and files", () => {
  test("the test's decoder agrees with the reference engine's values, so that it can judge the encoder", () => {
    const { cases } = JSON.parse(readFileSync(join(sharedData, "formats/gguf-blocks.json"), "utf8")) as {
      cases: { type: string; ggml_type: number; raw: string; f32: string }[];
    };
    for (const type of ["Q4_0", "Q8_0"] as const) {
      const { ggml_type, raw, f32 } = cases.find((each) => each.type === type)!;
      expect(ggml_type).toBe(ggmlTypes[type].id);
      const expected = new Float32Array(new Uint8Array(Buffer.from(f32, "hex")).buffer);
      expect(dequantizeBlocks(ggml_type, Buffer.from(raw, "hex"))).toEqual(expected);
    }
  });

  test.each([
    ["babyllama-tok105", "q8_0", "Q8_0"],
    ["babyllama-tok105", "q4_0", "Q4_0"],
    ["stories260K", "q8_0", "Q8_0"],
    ["stories260K", "f16", "F16"],
  ] as const)("tensors of %s encode to the bytes of its %s file", (model, suffix, type) => {
    const folder = join(sharedData, "models", model);
    const { tensors } = readGguf(readFileSync(join(folder, `${model}-${suffix}.gguf`)));
    const source = readSafetensors(join(folder, "model.safetensors")).tensors;
    let compared = 0;
    for (const [ours, theirs] of [
      ["mlp.gate_proj", "ffn_gate"],
      ["mlp.up_proj", "ffn_up"],
      ["self_attn.v_proj", "attn_v"],
      ["self_attn.o_proj", "attn_output"],
    ]) {
      const tensor = tensors.get(`blk.0.${theirs}.weight`)!;
      if (tensor.type !== ggmlTypes[type].id) continue; // rows that are no whole blocks stay in F16
      const values = toFloat32(source.get(`model.layers.0.${ours}.weight`)!);
      expect(encodeGgml(type, values)).toEqual(new Uint8Array(tensor.data));
      compared += 1;
    }
    expect(compared).toBeGreaterThanOrEqual(4);
  });
});
