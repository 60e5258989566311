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
      const backend = create({ deterministic }).info;
      const checks = checksFor(backend.arithmetic);
      const absent = checks.flatMap(({ absentOn }) => absentOn?.[backend.name] ?? []);
      for (const sentence of new Set(absent)) {
        const count = absent.filter((each) => each === sentence).length;
        console.info(`SKIPPED: ${name}: ${count} checks: ${sentence}`);
      }
      for (const group of new Set(checks.map((check) => check.group))) {
        describe(group, () => {
          for (const check of checks.filter((each) => each.group === group)) {
            const sentence = check.absentOn?.[backend.name];
            if (sentence !== undefined) {
              test.skip(`${check.name}: ${sentence}`, () => undefined);
              continue;
            }
            test(check.name, async () => {
              expect(await check.run((options) => create({ deterministic, ...options }))).toEqual([]);
            });
          }
        });
      }
    });
  }
}
