import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readKeyFile } from "./key-file.ts";

describe("readKeyFile", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "kvant-keys-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const write = (text: string) => {
    const path = join(folder, "keys");
    writeFileSync(path, text);
    return path;
  };

  test("reads one key a line and skips empty lines and comments", () => {
    expect(readKeyFile(write("# team a\nkey-a-0001\r\n\n  key-b-0001  \n#end"))).toEqual(["key-a-0001", "key-b-0001"]);
  });

  test.each([
    ["", "holds no key"],
    ["# only a comment\n", "holds no key"],
    ["key-a-0001\nshort\n", "line 2 is not a key: it has 5 characters"],
    ["key with spaces\n", "line 1 is not a key"],
    [`${"k".repeat(513)}\n`, "line 1 is not a key: it has 513 characters"],
    ["schlüssel-0001\n", "line 1 is not a key"],
  ])("refuses %j and says why", (text, message) => {
    expect(() => readKeyFile(write(text))).toThrow(message);
  });

  test("never puts a line's text into an error", () => {
    expect(() => readKeyFile(write("two words\n"))).toThrow(expect.not.stringContaining("two words"));
  });

  test("names a file that is not there", () => {
    const path = join(folder, "absent");
    expect(() => readKeyFile(path)).toThrow(
      expect.objectContaining({ code: "KEY_FILE_INVALID", message: expect.stringContaining(path) }),
    );
  });
});
