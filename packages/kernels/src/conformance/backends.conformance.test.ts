import { describe, expect, test } from "vitest";
import { availableBackends } from "../backends.ts";
import { checksFor } from "./conformance-check.ts";

for (const { name, create, reason } of availableBackends()) {
  if (create === undefined) {
    describe(name, () => {
      console.info(`SKIPPED: ${reason}`);
      test.skip(reason, () => undefined);
    });
    continue;
  }
  // The CUDA backend has a second mode, in which tensor cores may round.
  for (const deterministic of name === "cuda" ? [true, false] : [true]) {
    describe(deterministic ? name : `${name}, tensor cores`, () => {
      const checks = checksFor(create({ deterministic }).info.arithmetic);
      for (const group of new Set(checks.map((check) => check.group))) {
        describe(group, () => {
          for (const check of checks.filter((each) => each.group === group)) {
            test(check.name, async () => {
              expect(await check.run((options) => create({ deterministic, ...options }))).toEqual([]);
            });
          }
        });
      }
    });
  }
}
