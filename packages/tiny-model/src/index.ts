import { fileURLToPath } from "node:url";

/** Absolute path of the folder with the model's files: weights, config.json, tokenizer and generation defaults. */
export const tinyModelPath: string = fileURLToPath(new URL("../model", import.meta.url));

/** The name under which Kvant's commands know this model. */
export const tinyModelName = "tiny";
