import { fileURLToPath } from "node:url";
import { createEngine } from "@kvant/engine";
import { tinyModelPath } from "@kvant/tiny-model";
import { expect, test } from "vitest";

test("an engine serves from the paced addon, whose interface is the current one", async () => {
  process.env.KVANT_NATIVE = fileURLToPath(new URL("paced-addon.cjs", import.meta.url));
  process.env.KVANT_PACE_MS = "1";
  const engine = await createEngine({ model: tinyModelPath });
  try {
    expect(engine.model.tier).toBe("paced");
    const ids: number[] = [];
    await engine.generate({ prompt: { kind: "tokens", tokenIds: [20, 21] }, maxTokens: 5, ignoreEos: true }).handTo({
      take: (event) => {
        if (event.type === "delta") ids.push(...event.tokenIds);
        return undefined;
      },
    });
    expect(ids).toHaveLength(5);
    for (const id of ids) expect(id).toBeGreaterThanOrEqual(Math.floor(engine.model.vocabSize / 2));
  } finally {
    await engine.close();
  }
});
