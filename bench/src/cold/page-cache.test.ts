import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { evict, isCold, modelFiles, residency } from "./page-cache.ts";

const bytes = 3 << 20;
const tmpfsMagic = 0x01021994;
let folder: string;
let file: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kvant page cache ö "));
  file = join(folder, "model.safetensors");
  writeFileSync(file, Buffer.alloc(bytes, 1));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const canTell = spawnSync("fincore", ["--version"]).status === 0;
const canDrop = canTell && spawnSync("dd", ["--version"]).status === 0 && statfsSync(tmpdir()).type !== tmpfsMagic;

test.skipIf(!canDrop)(
  "a file leaves the page cache, though it was just written, and comes back when it is read",
  () => {
    expect(residency([file])).toEqual({ bytes, residentBytes: bytes });
    const eviction = evict([file], { isMachineWide: false });
    expect(eviction).toEqual({ method: "fadvise", residency: { bytes, residentBytes: 0 } });
    readFileSync(file);
    expect(residency([file])).toEqual({ bytes, residentBytes: bytes });
  },
);

test.skipIf(!canTell)("a file that cannot leave is not called cold", () => {
  const inMemory = join("/dev/shm", `kvant-page-cache-${process.pid}`);
  writeFileSync(inMemory, Buffer.alloc(bytes, 1));
  try {
    const eviction = evict([inMemory], { isMachineWide: false });
    expect(eviction.method).toBe("none");
    expect("reason" in eviction && eviction.reason).toContain(`${bytes} of the files' ${bytes} bytes stayed`);
  } finally {
    rmSync(inMemory);
  }
});

test("without files nothing is cold", () => {
  expect(evict([], { isMachineWide: false })).toMatchObject({ method: "none" });
});

test("a hundredth may be back at once", () => {
  expect(isCold({ bytes: 1000, residentBytes: 10 })).toBe(true);
  expect(isCold({ bytes: 1000, residentBytes: 11 })).toBe(false);
});

test("a model's files are its weights and descriptions, not what else lies there", () => {
  const model = join(folder, "model");
  mkdirSync(model);
  for (const name of ["tokenizer.json", "model-00001-of-00001.safetensors", "README.md", "pytorch_model.bin"]) {
    writeFileSync(join(model, name), "");
  }
  expect(modelFiles(model)).toEqual([join(model, "model-00001-of-00001.safetensors"), join(model, "tokenizer.json")]);
});
