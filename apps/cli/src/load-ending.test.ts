import { once } from "node:events";
import { expect, test } from "vitest";
import { loadEnding } from "./load-ending.ts";

test("the start of a server has its time, and the load its own", async () => {
  const ending = loadEnding();
  try {
    const before = ending.within(0.01);
    await once(before, "abort");
    expect(before.reason).toMatchObject({ name: "TimeoutError" });
    expect(ending.within(600).aborted).toBe(false);
    expect(ending.interrupt.aborted).toBe(false);
    expect(ending.interruptedBy()).toBeUndefined();
  } finally {
    ending.forget();
  }
});
