import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type AddonSearch, findAddon } from "./load-addon.ts";
import { NATIVE_ABI } from "./native-addon.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvant-addon-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** A search in which only the names in `modules` load. */
function search(modules: Readonly<Record<string, unknown>>, environment: Record<string, string> = {}): AddonSearch {
  return {
    environment,
    platform: "linux",
    architecture: "x64",
    folder: join(folder, "packages", "kernels", "src"),
    load: (name) => {
      if (Object.hasOwn(modules, name)) return modules[name];
      throw new Error(`cannot load ${name}\nRequire stack:`);
    },
  };
}

const addon = (label: string) => ({ abi: NATIVE_ABI, label });

describe("the order of the search", () => {
  test("a file that KVANT_NATIVE names comes first", () => {
    const named = resolve(folder, "mine.node");
    const modules = { [named]: addon("named"), "@kvant/native-linux-x64": addon("package") };
    expect(findAddon(search(modules, { KVANT_NATIVE: named }))).toMatchObject({ label: "named" });
  });

  test("nothing else is tried when KVANT_NATIVE names a broken file", () => {
    const modules = { "@kvant/native-linux-x64": addon("package") };
    expect(() => findAddon(search(modules, { KVANT_NATIVE: "/nowhere.node" }))).toThrow(
      /nowhere\.node: cannot load.*\nUnset KVANT_NATIVE/s,
    );
  });

  test("the platform's package comes before a build above the sources", () => {
    const built = join(folder, "native", "dist", "kvant.node");
    mkdirSync(join(folder, "native", "dist"), { recursive: true });
    writeFileSync(built, "");
    const modules = { [built]: addon("build") };
    expect(findAddon(search(modules))).toMatchObject({ label: "build" });
    expect(findAddon(search({ ...modules, "@kvant/native-linux-x64": addon("package") }))).toMatchObject({
      label: "package",
    });
  });
});

test("every failure is kept, and the last line says what to do", () => {
  expect(() => findAddon(search({}))).toThrow(
    expect.objectContaining({
      code: "NATIVE_NOT_FOUND",
      message: expect.stringMatching(
        /- @kvant\/native-linux-x64: cannot load.*\n {2}- native.dist.kvant\.node: in no folder from .*\nInstall @kvant\/native-linux-x64/s,
      ),
    }),
  );
});

test("an addon of another interface version is refused", () => {
  const modules = { "@kvant/native-linux-x64": { abi: NATIVE_ABI + 1 } };
  expect(() => findAddon(search(modules))).toThrow(
    `has interface version ${NATIVE_ABI + 1}; this package needs ${NATIVE_ABI}`,
  );
});
