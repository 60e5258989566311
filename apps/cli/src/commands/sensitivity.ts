import { existsSync, writeFileSync } from "node:fs";
import { parseQualityScheme } from "@kvant/bench";
import { KvantError } from "@kvant/core";
import { drawCalibration, openQuantizeSource } from "@kvant/engine";
import { type LinearRecipe, type ModuleSensitivity, sensitivityScan } from "@kvant/quantizers";
import { dump } from "js-yaml";
import { accelerate } from "../accelerate.ts";
import { engineOptions, type ModelFlags } from "../model-options.ts";
import { requireWritable } from "../output-files.ts";
import { printRow, say, table } from "../print.ts";
import { progressBar } from "../progress.ts";

export interface SensitivityFlags extends Pick<ModelFlags, "device" | "backend" | "threads"> {
  readonly budgetBits: number;
  readonly candidates: readonly string[];
  readonly keep?: boolean;
  readonly calibration: readonly string[];
  readonly samples: number;
  readonly sampleTokens: number;
  readonly seed: number;
  readonly out?: string;
  readonly json?: boolean;
}

/** Bits of a weight that stays as it is. */
const keptBits = 16;

/** Measures what quantizing each linear layer alone does, and proposes a recipe within a budget of bits per weight. */
export async function sensitivity(model: string | undefined, flags: SensitivityFlags): Promise<void> {
  const candidates = flags.candidates.map(recipeOf);
  if (flags.out !== undefined && existsSync(flags.out)) {
    throw new KvantError("INVALID_ARGUMENT", `${flags.out}: exists; name another file or remove it`, { field: "out" });
  }
  requireWritable([flags.out]);
  accelerate(flags.threads);
  const source = openQuantizeSource(engineOptions(model, flags));
  const bar = progressBar("scanning");
  try {
    const { runtime, checkpoint } = source;
    const { samples: sampleCount, sampleTokens, seed, calibration: files } = flags;
    const scan = await sensitivityScan({
      runtime,
      readTensor: (tensor) => checkpoint.readFloat32(tensor),
      samples: drawCalibration(source, { files, sampleCount, sampleTokens, seed }),
      candidates,
      budgetBits: flags.budgetBits,
      keptBits: flags.keep ? keptBits : undefined,
      onProgress: bar.update,
    });
    bar.stop();
    const recipe = dump(scan.chosen);
    if (flags.out !== undefined) writeFileSync(flags.out, recipe, { flag: "wx" });
    const lines = [
      sensitivityTable(scan.modules),
      "",
      `${scan.bitsPerWeight.toFixed(3)} bits per weight of ${flags.budgetBits}`,
      flags.out === undefined ? recipe : `written: ${flags.out} (use it: kvant quantize --recipe ${flags.out})`,
    ].join("\n");
    if (flags.json) {
      for (const row of scan.modules) printRow(row);
      say(lines);
    } else {
      process.stdout.write(`${lines}\n`);
    }
  } finally {
    bar.stop();
    source.close();
  }
}

function recipeOf(name: string): LinearRecipe {
  const scheme = parseQualityScheme(name);
  if (scheme.kind === "quantized") return scheme.recipe;
  const sentence = `"${name}" is no way to quantize a layer; --keep lets layers stay as they are`;
  throw new KvantError("INVALID_ARGUMENT", sentence, { field: "candidates" });
}

/** A row per linear layer with the loss of every candidate, the chosen one marked. */
function sensitivityTable(modules: readonly ModuleSensitivity[]): string {
  const [first] = modules;
  if (first === undefined) return "";
  const titles = first.options.map(({ format, method }) => (method === undefined ? format : `${format}/${method}`));
  return table(
    ["module", "weights", ...titles.map((title) => `loss ${title}`), "chosen"],
    modules.map(({ module, parameters, options, choice }) => [
      module,
      parameters.toLocaleString("en"),
      ...options.map(({ loss }) => loss.toExponential(2)),
      titles[choice]!,
    ]),
  );
}
