import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/** Every file below a folder with its text. */
function contents(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [path.slice(folder.length), readFileSync(path, "utf8")];
    }),
  );
}

test("the committed types are what the .proto files give (else run scripts/generate-grpc-types.mjs)", () => {
  const script = fileURLToPath(new URL("../../scripts/generate-grpc-types.mjs", import.meta.url));
  const fresh = mkdtempSync(join(tmpdir(), "kvant-grpc-types-"));
  try {
    execFileSync(process.execPath, [script, fresh]);
    const committed = contents(fileURLToPath(new URL("generated", import.meta.url)));
    expect(committed).toEqual(contents(fresh));
    expect(Object.keys(committed).length).toBeGreaterThan(30);
  } finally {
    rmSync(fresh, { recursive: true });
  }
});
