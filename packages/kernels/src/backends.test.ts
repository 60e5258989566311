import { expect, test } from "vitest";
import { availableBackends, createBackend } from "./backends.ts";
import { tierAbsence } from "./cpu/cpu-backend.ts";

test("the reference backend is always there, and what is absent says why", () => {
  const backends = availableBackends();
  expect(backends[0]).toMatchObject({ name: "reference", reason: undefined });
  for (const { name, create, reason } of backends) {
    if (create === undefined) expect(reason).toMatch(new RegExp(`^${name} is absent: .{10}`));
  }
});

test("a tier that the addon was refused is absent for that reason", () => {
  const refused = "Linux refused the tile registers: Operation not permitted";
  const info = { tiers: ["avx2", "scalar"], refusedTiers: { amx: refused } };
  expect(tierAbsence(info, "amx")).toBe(refused);
  expect(tierAbsence(info, "neon")).toBe("this machine and build have avx2, scalar");
  expect(tierAbsence(info, "avx2")).toBeUndefined();
});

test("cuda is refused with a reason, and unknown devices by name", () => {
  expect(() => createBackend("cuda:1")).toThrow(
    expect.objectContaining({ code: "BACKEND_UNAVAILABLE", message: expect.stringMatching(/cuda:1 is absent: .{10}/) }),
  );
  expect(() => createBackend("tpu")).toThrow('no device is called "tpu"');
});
