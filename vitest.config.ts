import { defineConfig } from "vitest/config";

// Tests run the TypeScript sources: the `@kvant/source` export condition resolves every workspace package to its src/.
const conditions = ["@kvant/source", "node", "import", "module", "default"];
const shared = { resolve: { conditions }, ssr: { resolve: { conditions, externalConditions: conditions } } };
const exclude = ["**/node_modules/**", "**/dist/**", "**/build/**"];

export default defineConfig({
  ...shared,
  test: {
    projects: [
      {
        ...shared,
        test: {
          name: "unit",
          include: ["{packages,apps}/*/src/**/*.test.ts", "bench/src/**/*.test.ts"],
          exclude: [
            ...exclude,
            "**/*.conformance.test.ts",
            "**/*.server.test.ts",
            "**/*.browser.test.ts",
            "**/*.gpu.test.ts",
            "**/*.timing.test.ts",
          ],
          // No test is about time; a busy machine may still need a while.
          testTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: { name: "conformance", include: ["**/*.conformance.test.ts"], exclude, testTimeout: 120_000 },
      },
      {
        ...shared,
        test: { name: "server", include: ["**/*.server.test.ts"], exclude, testTimeout: 120_000, hookTimeout: 120_000 },
      },
      // Measured against what is known to have happened, to the millisecond: when all others are through, one after the other.
      {
        ...shared,
        test: {
          name: "timing",
          include: ["**/*.timing.test.ts"],
          exclude,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      // Pages in a headless Chromium, where there is one.
      {
        ...shared,
        test: {
          name: "browser",
          include: ["**/*.browser.test.ts"],
          exclude,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      // The repository as a whole: its architecture, its documents, and every package from its tarball. Needs a build.
      {
        ...shared,
        test: {
          name: "packages",
          include: ["scripts/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          maxConcurrency: 2,
        },
      },
      { ...shared, test: { name: "gpu", include: ["**/*.gpu.test.ts"], exclude, testTimeout: 300_000 } },
    ],
  },
});
