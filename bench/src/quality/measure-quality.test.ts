import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KvantError } from "@kvant/core";
import type { EngineOptions } from "@kvant/engine";
import { availableBackends } from "@kvant/kernels";
import { tinyModelPath } from "@kvant/tiny-model";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { SchemeCost } from "./measure-cost.ts";
import { type MeasureQualityOptions, measureQuality, type QualityRow } from "./measure-quality.ts";
import { parseQualityScheme } from "./quality-scheme.ts";
import { qualityTwin } from "./quality-twin.ts";
import { sampleQualityResult } from "./testing/sample-quality-result.ts";

const hasNative = availableBackends().some(({ name, create }) => name.startsWith("cpu") && create !== undefined);
const device = hasNative ? "cpu" : "reference";
const text = "The boats were in before the fog. Nobody had seen the pilot. ";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvant-measure-quality-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function rowsOf(
  schemes: readonly string[],
  changes: Partial<MeasureQualityOptions> = {},
): Promise<readonly QualityRow[]> {
  const rows: QualityRow[] = [];
  const measured = measureQuality({
    ...{ model: tinyModelPath, device, folder, text },
    schemes: schemes.map(parseQualityScheme),
    ...changes,
  });
  for await (const row of measured) rows.push(row);
  return rows;
}

describe("a checkpoint that an earlier call has left", () => {
  test("is used again for the same texts wherever they lie, and refused once they have changed", async () => {
    const [first, moved] = [join(folder, "first.txt"), join(folder, "moved.txt")];
    writeFileSync(first, text.repeat(20));
    const calibration = (path: string) => ({ files: [path], sampleCount: 2, sampleTokens: 32, seed: 1 });
    const [made] = await rowsOf(["int8-channel+int8-static"], { calibration: calibration(first) });
    expect(made!.quantizeSeconds).toBeGreaterThan(0);
    renameSync(first, moved);
    const [again] = await rowsOf(["int8-channel+int8-static"], { calibration: calibration(moved) });
    expect(again!.quantizeSeconds).toBeNull();
    writeFileSync(moved, text.toUpperCase().repeat(20));
    await expect(rowsOf(["int8-channel+int8-static"], { calibration: calibration(moved) })).rejects.toThrow(
      "was made with other settings",
    );
  });

  test("is refused before anything runs where what made it was killed before its end", async () => {
    const out = join(folder, "int4-channel");
    mkdirSync(out);
    const sentence = `${out}: has no bench-quality.json, so what made it ended before it was done; remove the folder`;
    await expect(rowsOf(["int8-channel", "int4-channel"])).rejects.toThrow(sentence);
    expect(readdirSync(folder)).toEqual(["int4-channel"]);
  });

  test("is not that of a twin with other outliers", async () => {
    const planted = { source: { model: tinyModelPath, device }, folder, channelCount: 2, seed: 3 };
    const twin = qualityTwin({ ...planted, factor: 10 });
    expect(twin.channels).toHaveLength(2);
    await rowsOf(["int8-channel"], { model: twin.model });
    const other = qualityTwin({ ...planted, factor: 20 });
    await expect(rowsOf(["int8-channel"], { model: other.model })).rejects.toThrow("was made with other settings");
  });
});

test("a twin with the same outliers is there once, and one for each setting", () => {
  const planted = { source: { model: tinyModelPath, device }, folder, factor: 10, channelCount: 2, seed: 3 };
  const { model, channels } = qualityTwin(planted);
  const writtenAt = statSync(join(model, "config.json")).mtimeMs;
  expect(channels).toHaveLength(2);
  expect(qualityTwin(planted)).toEqual({ model, channels: undefined });
  expect(statSync(join(model, "config.json")).mtimeMs).toBe(writtenAt);
  const changes = [{ factor: 11 }, { channelCount: 3 }, { seed: 4 }];
  const others = changes.map((change) => qualityTwin({ ...planted, ...change }).model);
  expect(new Set([model, ...others]).size).toBe(4);
  expect(others.every(existsSync)).toBe(true);
});

test("a scheme that fails has no row, and the others have theirs", async () => {
  const failures: string[] = [];
  const cost = ({ model }: EngineOptions): SchemeCost => {
    if (model.endsWith("int4-channel")) throw new KvantError("OP_UNSUPPORTED", "no kernel for int4-channel");
    return sampleQualityResult().rows[0]!.cost!;
  };
  const schemes = ["bf16", "int4-channel", "int8-channel"];
  const rows = await rowsOf(schemes, { cost, onFailure: (scheme, error) => failures.push(`${scheme}: ${error}`) });
  expect(rows.map(({ scheme }) => scheme)).toEqual(["bf16", "int8-channel"]);
  expect(failures).toEqual(["int4-channel: KvantError: no kernel for int4-channel"]);
  await expect(rowsOf(schemes, { cost })).rejects.toThrow("no kernel for int4-channel");
});
