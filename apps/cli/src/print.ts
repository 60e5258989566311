import type { ModelInfo, TensorClassReport } from "@kvant/engine";

/** One JSON object on one line of standard output. */
export function printRow(row: object): void {
  process.stdout.write(`${JSON.stringify(row)}\n`);
}

/** A sentence for the person at the terminal; never on standard output. */
export function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)} MB`;
}

/** Columns as wide as their widest cell; numbers are given as text and aligned right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const isNumber = header.map((_, column) => rows.every((row) => /^[-\d.,%e+ ]*( [kMG]?B)?$/.test(row[column] ?? "")));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (isNumber[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join("  ")
      .trimEnd();
  return [line(header), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}

/** What is really quantized and what is not, per tensor class. */
export function tensorTable(classes: readonly TensorClassReport[]): string {
  return table(
    ["tensors", "format", "activations", "count", "parameters", "bytes", ""],
    classes.map((row) => [
      row.class,
      row.format,
      row.activations ?? "-",
      String(row.tensorCount),
      row.elementCount.toLocaleString("en"),
      megabytes(row.bytes),
      row.isQuantized ? "quantized" : "not quantized",
    ]),
  );
}

/** The model, what is really quantized, the page pool and the kernels, as lines for people. */
export function modelLines(model: ModelInfo): string {
  const kv = model.kvBytes.codes + model.kvBytes.scales;
  return [
    `${model.name}: ${model.architecture}, context ${model.contextLength}, vocabulary ${model.vocabSize}`,
    tensorTable(model.tensorClasses),
    `KV cache: ${model.kvFormat}, ${model.pageCount} pages of ${model.pageTokens} tokens, ${megabytes(kv)} (scales ${megabytes(model.kvBytes.scales)})${swapRoom(model)}`,
    `runs on ${model.backend} ${model.tier}, ${model.device === "cuda" ? arithmetic(model) : `${model.threads} threads`}; loaded in ${model.loadSeconds.toFixed(2)} s`,
  ].join("\n");
}

function swapRoom({ swapBytes }: ModelInfo): string {
  return swapBytes === 0 ? "" : `; ${megabytes(swapBytes)} of host memory to swap preempted sequences to`;
}

function arithmetic({ deterministic }: ModelInfo): string {
  return deterministic
    ? "deterministic"
    : "tensor cores may round, results may depend on the batch (see --deterministic)";
}
