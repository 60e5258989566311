import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { KvantError } from "@kvant/core";
import { writing } from "./disk-errors.ts";
import { SafetensorsFile } from "./safetensors-file.ts";
import { planShards, writeShards } from "./shards.ts";
import type { Tensor } from "./tensor.ts";
import { flush, writeDurably } from "./write-durably.ts";
import { type StreamedTensor, writeSafetensors } from "./write-safetensors.ts";

export interface CheckpointWriterOptions {
  /**
   * Lets a run that was interrupted go on: parts lie in `<out>.partial` and stay there until the checkpoint is whole. A later
   * writer with the same key takes them up. The key stands for all that parts depend on: source, recipe, samples, seed. Absent:
   * parts lie in `<out>.<pid>.tmp` and go with the writer.
   */
  readonly resumeKey?: string | undefined;
}

export interface FinishOptions {
  /** The content of config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Folder whose tokenizer, chat template, generation settings and licence are carried over. */
  readonly copyFrom?: string | undefined;
  /** Bytes of tensor data in a file; the 5 GB that Hugging Face's own writer takes unless told otherwise. */
  readonly shardBytes?: number | undefined;
}

const defaultShardBytes = 5e9;
const pieceBytes = 16 * 2 ** 20;
const partName = /^[\w-]+$/;

/**
 * Writes a checkpoint folder that is either whole or not there. Tensors come in parts, such as one per layer, and each part is
 * a file of its own as soon as it is written, so memory holds one part and an interrupted run loses one. A safetensors file
 * begins with the shapes of all that it holds, which are known only at the end: `finish` copies the parts into shards, writes
 * config.json and what is carried over, flushes, and renames the folder. The parts need room beside the shards; without a
 * resume key each is removed once its shard is written.
 */
export class CheckpointWriter {
  readonly out: string;
  readonly #work: string;
  readonly #keepsParts: boolean;
  #isOpen = true;

  /**
   * @throws KvantError INVALID_ARGUMENT if `out` exists, or if `<out>.partial` holds parts under another key; DISK_FULL,
   * WRITE_FAILED
   */
  constructor(out: string, { resumeKey }: CheckpointWriterOptions = {}) {
    this.out = resolve(out);
    this.#keepsParts = resumeKey !== undefined;
    this.#work = this.#keepsParts ? `${this.out}.partial` : `${this.out}.${process.pid}.tmp`;
    this.#refuseExisting();
    if (resumeKey !== undefined && this.#parts().length > 0) {
      this.#checkKey(resumeKey);
      return;
    }
    this.#orAbort(() => {
      writing(this.#work, () => mkdirSync(this.#partsFolder, { recursive: true }));
      if (resumeKey !== undefined) writeDurably(this.#keyFile, resumeKey);
    });
  }

  /** Whether this part is written, by this run or by the one that it goes on with. */
  has(part: string): boolean {
    return existsSync(this.#partPath(part));
  }

  /** Opens a written part; the caller closes it. @throws KvantError CHECKPOINT_NOT_FOUND */
  openPart(part: string): SafetensorsFile {
    return new SafetensorsFile(this.#partPath(part));
  }

  /**
   * Leaves a text beside a part that is about to be written, for a run that goes on from there; it is no part of the
   * checkpoint. If it fails, the writer has aborted.
   * @throws KvantError DISK_FULL, WRITE_FAILED
   */
  writeNote(part: string, text: string): void {
    this.#requireOpen();
    this.#orAbort(() => writeDurably(this.#notePath(part), text));
  }

  /** The text that `writeNote` has left beside a part; undefined if there is none. */
  note(part: string): string | undefined {
    const path = this.#notePath(part);
    return existsSync(path) ? readFileSync(path, "utf8") : undefined;
  }

  /**
   * Writes a part. Parts lie in the checkpoint in the order of their names. If it fails, the writer has aborted.
   * @throws KvantError INVALID_ARGUMENT, DISK_FULL, WRITE_FAILED
   */
  writePart(part: string, tensors: ReadonlyMap<string, Tensor>): void {
    this.#requireOpen();
    this.#orAbort(() => writeSafetensors(this.#partPath(part), tensors));
  }

  /**
   * Makes the checkpoint of the parts. If it fails, the writer has aborted.
   * @throws KvantError INVALID_ARGUMENT if two parts hold a tensor of one name or `out` has come to exist, DISK_FULL,
   * WRITE_FAILED, CHECKPOINT_INVALID or CHECKPOINT_TRUNCATED if a part was changed
   */
  finish({ config, copyFrom, shardBytes = defaultShardBytes }: FinishOptions): void {
    this.#requireOpen();
    this.#orAbort(() => {
      const folder = join(this.#work, "checkpoint");
      rmSync(folder, { recursive: true, force: true });
      writing(folder, () => mkdirSync(folder));
      this.#writeShards(folder, shardBytes);
      if (copyFrom !== undefined) copyCompanions(copyFrom, folder);
      writeDurably(join(folder, "config.json"), `${JSON.stringify(config, undefined, 2)}\n`);
      flush(folder);
      this.#refuseExisting();
      writing(this.out, () => renameSync(folder, this.out));
      flush(dirname(this.out));
    });
    this.#isOpen = false;
    rmSync(this.#work, { recursive: true, force: true });
  }

  /**
   * Gives up: removes what was written, but for the parts that a later run can take up. After `finish` or `abort` it does
   * nothing.
   */
  abort(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const keeps = this.#keepsParts && this.#parts().length > 0;
    const gone = keeps ? join(this.#work, "checkpoint") : this.#work;
    if (existsSync(gone)) rmSync(gone, { recursive: true });
  }

  /** Gives up for good: what a later run could take up goes too. After `finish`, `abort` or `discard` it does nothing. */
  discard(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    rmSync(this.#work, { recursive: true, force: true });
  }

  get #partsFolder(): string {
    return join(this.#work, "parts");
  }

  get #keyFile(): string {
    return join(this.#work, "resume-key");
  }

  /** File names of the parts that are written, in order. */
  #parts(): readonly string[] {
    if (!existsSync(this.#partsFolder)) return [];
    return readdirSync(this.#partsFolder)
      .filter((name) => name.endsWith(".safetensors"))
      .sort();
  }

  #partPath(part: string): string {
    if (partName.test(part)) return join(this.#partsFolder, `${part}.safetensors`);
    throw new KvantError("INVALID_ARGUMENT", `${JSON.stringify(part)} is no name of a part: letters, digits, _ and -`);
  }

  #notePath(part: string): string {
    return `${this.#partPath(part)}.note`;
  }

  #refuseExisting(): void {
    if (!existsSync(this.out)) return;
    throw new KvantError("INVALID_ARGUMENT", `${this.out}: exists; name another folder or remove it`, { field: "out" });
  }

  #checkKey(key: string): void {
    if (readFileSync(this.#keyFile, "utf8") === key) return;
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${this.#work}: holds an interrupted run with other settings; remove it, or run with those settings again`,
      { field: "out" },
    );
  }

  #requireOpen(): void {
    if (this.#isOpen) return;
    throw new KvantError("INVALID_ARGUMENT", `the writer of ${this.out} has finished or aborted`);
  }

  #orAbort(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.abort();
      throw error;
    }
  }

  #writeShards(folder: string, shardBytes: number): void {
    const open = new Set<SafetensorsFile>();
    try {
      const tensors: StreamedTensor[] = [];
      const lastTensors = new Map<StreamedTensor, SafetensorsFile>();
      for (const name of this.#parts()) {
        const file = new SafetensorsFile(join(this.#partsFolder, name));
        open.add(file);
        for (const info of file.tensors.values()) tensors.push(streamed(file, info.name));
        if (file.tensors.size > 0) lastTensors.set(tensors.at(-1)!, file);
      }
      writeShards(folder, planShards(tensors, shardBytes), (shard) => {
        for (const tensor of shard) {
          const file = lastTensors.get(tensor);
          if (file === undefined) continue;
          file.close();
          open.delete(file);
          if (!this.#keepsParts) rmSync(file.path);
        }
      });
    } finally {
      for (const file of open) file.close();
    }
  }
}

function streamed(file: SafetensorsFile, name: string): StreamedTensor {
  const { dtype, shape, bytes } = file.tensors.get(name)!;
  return { name, dtype, shape, bytes, pieces: () => file.pieces(name, pieceBytes) };
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

// Weights of any framework and their indices stay behind, and so does config.json, which is written anew.
const isCompanion = (name: string) =>
  /\.(json|txt|model|jinja|tiktoken)$|^(LICEN[CS]E|NOTICE|USE_POLICY)/i.test(name) &&
  !/\.index\.json$|^config\.json$/i.test(name);

/** Copies the files that make weights a model: tokenizer, chat template, generation settings, licence. */
function copyCompanions(from: string, to: string): void {
  for (const name of readdirSync(from).sort()) {
    if (name.startsWith(".") || !isCompanion(name) || !isFile(join(from, name))) continue;
    const copy = join(to, name);
    writing(copy, () => copyFileSync(join(from, name), copy));
    flush(copy);
  }
}
