import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readLoadResult, writeLoadResult } from "./load-result-file.ts";
import { sampleLoadResult } from "./testing/sample-load-result.ts";

const folder = mkdtempSync(join(tmpdir(), "kvant-load-result-"));
afterAll(() => rmSync(folder, { recursive: true }));

function fileOf(content: unknown): string {
  const path = join(folder, "changed.json");
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

test("a result reads back as it was written, and nothing else is left in the folder", () => {
  const path = join(folder, "result.json");
  writeLoadResult(path, sampleLoadResult({ streams: [1] }));
  writeLoadResult(path, sampleLoadResult());
  expect(readLoadResult(path)).toEqual(sampleLoadResult());
  expect(readdirSync(folder)).toEqual(["result.json"]);
});

test("a file that is not there, no JSON or no result is refused with its name", () => {
  expect(() => readLoadResult(join(folder, "absent.json"))).toThrow(/absent\.json: cannot be read \(ENOENT/);
  expect(() => readLoadResult(fileOf("{"))).toThrow(/changed\.json: is not JSON/);
  for (const content of [{}, [], 3, null, "text", { kind: "constructor", version: 1 }]) {
    expect(() => readLoadResult(fileOf(JSON.stringify(content)))).toThrow(
      /changed\.json: is no result of kvant bench serve/,
    );
  }
});

test.each(["cold", "quality"])("a result of bench %s is named as what it is", (command) => {
  const path = fileOf(JSON.stringify({ kind: `kvant-${command}`, version: 1 }));
  expect(() => readLoadResult(path)).toThrow(
    new RegExp(`changed\\.json: is a result of kvant bench ${command}, and this takes results of kvant bench serve`),
  );
});

test("a result of before requests' own pauses were kept reads as well", () => {
  const result = sampleLoadResult({ streams: [1] });
  const [level] = result.levels;
  const { interTokenP99: _, ...samples } = level!.samples;
  const { goodShareOf: __, ...older } = { ...level!, samples };
  expect(readLoadResult(fileOf({ ...result, levels: [older] })).levels).toEqual([older]);
});

test("a version that is newer than this reader, or never was, is refused", () => {
  const newer = fileOf({ ...sampleLoadResult(), version: 2 });
  expect(() => readLoadResult(newer)).toThrow(
    /changed\.json: has version 2, and this kvant reads up to 1; a newer one wrote it/,
  );
  expect(() => readLoadResult(fileOf({ ...sampleLoadResult(), version: 0 }))).toThrow(/has version 0, which never was/);
  expect(() => readLoadResult(fileOf({ kind: "kvant-load" }))).toThrow(/has version undefined, which never was/);
});

test("a field that is missing or of another kind is named", () => {
  const result = sampleLoadResult({ streams: [1] });
  const [level] = result.levels;
  const complaintOf = (changed: unknown): string => {
    try {
      readLoadResult(fileOf(changed));
      return "nothing";
    } catch (error) {
      return error instanceof Error ? error.message.replace(/^.*: is damaged: /, "") : "no error";
    }
  };
  expect(complaintOf({ ...result, seed: "one" })).toBe('seed is "one", not a number');
  expect(complaintOf({ ...result, levels: undefined })).toBe("levels is missing");
  expect(complaintOf({ ...result, levels: [{ ...level, seconds: null }] })).toBe(
    "levels[0].seconds is null, not a number",
  );
  expect(complaintOf({ ...result, server: { ...result.server, dialect: "smtp" } })).toBe(
    'server.dialect is "smtp", not one of openai-chat, openai-completions, kvant-grpc',
  );
  const samples = { ...level!.samples, endToEnd: [1, "2"] };
  expect(complaintOf({ ...result, levels: [level, { ...level, samples }] })).toBe(
    'levels[1].samples.endToEnd[1] is "2", not a number',
  );
  expect(complaintOf({ ...result, machine: "x".repeat(200) })).toBe(`machine is "${"x".repeat(119)}…, not an object`);
});

test("fields that this reader does not know are left alone", () => {
  const extended = { ...sampleLoadResult(), colour: "green" };
  expect(readLoadResult(fileOf(extended))).toEqual(extended);
});

test("a file that cannot be written leaves nothing behind", () => {
  expect(() => writeLoadResult(join(folder, "no", "such.json"), sampleLoadResult())).toThrow("ENOENT");
  expect(readdirSync(folder).filter((name) => name.includes("tmp"))).toEqual([]);
});
