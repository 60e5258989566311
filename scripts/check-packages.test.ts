import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type PackedWorkspace, packageFindings, packWorkspace } from "./packages/check-package.ts";
import { publishedPackages } from "./packages/workspace-packages.ts";

describe("from its tarball, in an empty project without network", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvant-packages-"));
  let packed: PackedWorkspace;
  beforeAll(async () => {
    packed = await packWorkspace(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.concurrent.each(publishedPackages().map((entry) => ({ name: entry.manifest.name, entry })))(
    "$name passes publint and attw, installs, and runs the examples of its README",
    async ({ entry }) => {
      expect(await packageFindings(packed, entry)).toEqual([]);
    },
  );
});
