import { evaluate } from "@kvant/bench";
import { kvFormatNames } from "@kvant/formats";
import { engineOptions, formatNames, type ModelFlags } from "../model-options.ts";
import { printRow, say, table } from "../print.ts";
import { loadingBar, progressBar } from "../progress.ts";
import { readText } from "../read-text.ts";

export interface EvalFlags extends ModelFlags {
  readonly text: readonly string[];
  readonly chunkTokens?: number;
  readonly kl: boolean;
  readonly json?: boolean;
}

/** Perplexity and bits per byte of texts under each of the named weight and KV formats; `--kv-format all` names them all. */
export async function evaluateModel(model: string | undefined, flags: EvalFlags): Promise<void> {
  const text = flags.text.map(readText).join("");
  const kvFormats = flags.kvFormat === "all" ? [...kvFormatNames] : formatNames(flags.kvFormat);
  const rows: string[][] = [];
  for (const weights of formatNames(flags.weights)) {
    for (const kvFormat of kvFormats) {
      const label = [weights ?? "stored weights", `${kvFormat ?? "bf16"} KV`].join(", ");
      const loading = loadingBar();
      const bar = progressBar(label);
      const chosen = {
        ...flags,
        ...(weights === undefined ? {} : { weights }),
        ...(kvFormat === undefined ? {} : { kvFormat }),
      };
      try {
        const row = await evaluate({
          engine: {
            ...engineOptions(model, chosen),
            ...(flags.chunkTokens === undefined ? {} : { chunkTokens: flags.chunkTokens }),
          },
          text,
          divergence: flags.kl,
          onLoad: loading.onProgress,
          onProgress: (done, total) => {
            loading.stop();
            bar.update(done, total);
          },
        });
        bar.stop();
        if (flags.json) printRow(row);
        rows.push([
          row.weights,
          row.activations,
          row.kvFormat,
          String(row.tokens),
          row.perplexity.toFixed(4),
          row.bitsPerByte.toFixed(4),
          row.klVsBf16Kv === null ? "-" : row.klVsBf16Kv.toExponential(2),
          row.seconds.toFixed(1),
        ]);
      } finally {
        loading.stop();
        bar.stop();
      }
    }
  }
  const header = ["weights", "activations", "KV", "tokens", "perplexity", "bits/byte", "KL vs bf16 KV", "seconds"];
  if (flags.json) say(table(header, rows));
  else process.stdout.write(`${table(header, rows)}\n`);
}
