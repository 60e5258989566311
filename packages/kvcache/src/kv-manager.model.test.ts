import { describe, expect, test } from "vitest";
import { CacheModel } from "../test/cache-model.ts";
import { seededRandom } from "../test/seeded-random.ts";

const seed = Number(process.env.KVANT_TEST_SEED ?? 20_240_917);
const operationCount = 2500;

const shapes = [
  { name: "one full group", groups: [{ pageCount: 40, hostPageCount: 30, pageTokens: 4 }] },
  { name: "a roomy full group", groups: [{ pageCount: 400, hostPageCount: 100, pageTokens: 4 }] },
  { name: "one windowed group", groups: [{ pageCount: 40, hostPageCount: 20, pageTokens: 4, window: 9 }] },
  {
    name: "a windowed and a full group with different page sizes",
    groups: [
      { pageCount: 50, hostPageCount: 40, pageTokens: 2, window: 6 },
      { pageCount: 24, hostPageCount: 20, pageTokens: 8 },
    ],
  },
];

describe.each(shapes)("a cache with $name", ({ groups }) => {
  test.each([seed, seed + 1, seed + 2])("never serves a page with another content, random run %i", (runSeed) => {
    console.info(`seed ${runSeed}`);
    const model = new CacheModel(groups, seededRandom(runSeed));
    for (let i = 0; i < operationCount; i++) model.act();
    // The run is worth something only when it has met what it is about.
    for (const [name, count] of Object.entries(model.tally)) {
      if (["refused", "preempted", "resumedHits"].includes(name)) continue;
      expect(count, name).toBeGreaterThan(0);
    }
    model.releaseAll();
    expect(model.manager.stats()).toMatchObject({
      sequenceCount: 0,
      swappedCount: 0,
      pages: { used: 0 },
      hostPages: { used: 0 },
    });
  });
});
