import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint, readModelConfig } from "@kvant/checkpoint";
import { writeOutlierTwin } from "@kvant/quantizers";
import { afterAll, describe, expect, test } from "vitest";
import { openForwardPass } from "../open-forward-pass.ts";
import { goldenModel, tokens } from "../testing/golden.ts";
import { LayerRunner } from "./layer-runner.ts";

const folder = mkdtempSync(join(tmpdir(), "kvant-twin-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function writeTwin(name: string, out: string, changes: { factor?: number; channelCount?: number } = {}) {
  const config = readModelConfig(goldenModel(name));
  const checkpoint = openCheckpoint(goldenModel(name));
  try {
    const runtime = new LayerRunner({ config, checkpoint });
    const shape = { factor: 40, channelCount: 3, ...changes };
    return writeOutlierTwin({ checkpoint, config, runtime, out: join(folder, out), seed: 7, ...shape });
  } finally {
    checkpoint.close();
  }
}

async function logits(model: string): Promise<Float32Array> {
  const ids = Int32Array.from(tokens(24, 1));
  const { pass, close } = await openForwardPass({ model, weights: "fp32", kvFormat: "fp32", mostTokens: 64 });
  try {
    return await pass.logits(ids);
  } finally {
    await close();
  }
}

describe("the outlier twin", () => {
  test.each(["llama", "qwen2"])("of %s gives the same logits", async (name) => {
    const channels = writeTwin(name, name);
    expect(channels).toHaveLength(3);
    const [own, twin] = [await logits(goldenModel(name)), await logits(join(folder, name))];
    const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const apart = own.reduce((most, value, i) => Math.max(most, Math.abs(value - twin[i]!)), 0);
    expect(twin.length).toBe(own.length);
    expect(apart / largest).toBeLessThan(1e-5);
  });

  test("has its outliers where it says, in every layer", () => {
    const channels = writeTwin("llama", "planted");
    const [own, twin] = [openCheckpoint(goldenModel("llama")), openCheckpoint(join(folder, "planted"))];
    for (const name of [...own.tensors.keys()].filter((each) => /layernorm\.weight$/.test(each))) {
      const [before, after] = [own.readFloat32(name), twin.readFloat32(name)];
      before.forEach((value, channel) => {
        expect(after[channel]! / value).toBeCloseTo(channels.includes(channel) ? 40 : 1, 4);
      });
    }
    own.close();
    twin.close();
  });

  test("is refused where it cannot be", () => {
    expect(() => writeTwin("llama", "bad", { factor: 0 })).toThrow("a factor is above 0, not 0");
    expect(() => writeTwin("llama", "bad", { channelCount: 1e6 })).toThrow("outliers go into 1 to");
    writeTwin("llama", "twice");
    expect(() => writeTwin("llama", "twice")).toThrow("exists");
  });
});
