import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { requireWritable } from "./output-files.ts";

const folder = mkdtempSync(join(tmpdir(), "kvant-output-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("files that can be written are left as they are, and nothing stays beside them", () => {
  const old = join(folder, "old.json");
  writeFileSync(old, "before");
  requireWritable([old, undefined, join(folder, "new.html")]);
  expect(readFileSync(old, "utf8")).toBe("before");
  expect(readdirSync(folder)).toEqual(["old.json"]);
});

test.each([
  [
    "in a folder that is not there",
    join(folder, "absent", "result.json"),
    /result\.json: cannot be written \(ENOENT\)/,
  ],
  ["that is a folder", folder, /: cannot be written \(it is a folder\)/],
  ["below a file", join(import.meta.filename, "x"), /x: cannot be written \(ENOTDIR\)/],
])("a file %s is refused by its name", (_, path, sentence) => {
  expect(() => requireWritable([path])).toThrow(expect.objectContaining({ code: "WRITE_FAILED" }));
  expect(() => requireWritable([path])).toThrow(sentence);
});
