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
    const backend = create().info.name;
    const absent = conformanceChecks.flatMap(({ absentOn }) => absentOn?.[backend] ?? []);
    for (const reason of new Set(absent)) {
      console.info(`SKIPPED: ${name}: ${absent.filter((each) => each === reason).length} checks: ${reason}`);
    }
    for (const group of groups) {
      describe(group, () => {
        for (const check of conformanceChecks.filter((each) => each.group === group)) {
          const reason = check.absentOn?.[backend];
          if (reason !== undefined) {
            test.skip(`${check.name}: ${reason}`, () => undefined);
            continue;
          }
          test(check.name, async () => {
            expect(await check.run(create)).toEqual([]);
          });
        }
      });
    }
  });
}
