import { describe, expect, test } from "vitest";
import { availableBackends } from "../backends.ts";
import { conformanceChecks } from "./conformance-check.ts";

const groups = [...new Set(conformanceChecks.map(({ group }) => group))];

for (const { name, create, reason } of availableBackends()) {
  describe(name, () => {
    if (create === undefined) {
      console.info(`SKIPPED: ${reason}`);
      test.skip(reason, () => undefined);
      return;
    }
    for (const group of groups) {
      describe(group, () => {
        for (const check of conformanceChecks.filter((each) => each.group === group)) {
          test(check.name, async () => {
            expect(await check.run(create)).toEqual([]);
          });
        }
      });
    }
  });
}
