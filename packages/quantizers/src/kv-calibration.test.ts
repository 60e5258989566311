import { expect, test } from "vitest";
import { normals } from "../test/random-matrices.ts";
import { kvCalibration } from "./kv-calibration.ts";
import { percentileObserver } from "./observers/observers.ts";

test("each head has the scale of its largest magnitude, the tensor that of all", () => {
  const calibration = kvCalibration(2, 2);
  // [tokens, kvHeads, headDim]
  calibration.observe(new Float32Array([1, -127, 0, 254, 3, 4, -508, 6]), new Float32Array(8).fill(127), 2);
  calibration.observe(new Float32Array([0, 0, 0, 0]), new Float32Array([-254, 0, 0, 0]), 1);
  const { k, v } = calibration.scales("int8");
  expect([...k.perHead, k.perTensor]).toEqual([1, 4, 4]);
  expect([...v.perHead, v.perTensor]).toEqual([2, 1, 2]);
  expect(calibration.scales("e4m3").k.perHead[1]).toBe(Math.fround(508 / 448));
  expect(calibration.scales("e5m2").k.perTensor).toBe(Math.fround(508 / 57344));
});

test("any observer may choose the scales (seed 48001)", () => {
  const calibration = kvCalibration(4, 8, () => percentileObserver(99));
  const k = normals(48_001, 100 * 32);
  k[5] = 1000;
  calibration.observe(k, k, 100);
  const { perHead, perTensor } = calibration.scales("int8").k;
  expect(perHead).toHaveLength(4);
  for (const scale of [...perHead, perTensor]) expect(scale).toBeLessThan(4 / 127);
});

test("shapes that do not match and empty calibrations are refused", () => {
  expect(() => kvCalibration(0, 8)).toThrow("[0, 8] is not a shape of heads");
  const calibration = kvCalibration(2, 2);
  expect(() => calibration.observe(new Float32Array(4), new Float32Array(3), 1)).toThrow(
    "3 activations are not [1, 4]",
  );
  expect(() => calibration.scales("int8")).toThrow("at least one observed activation");
});
