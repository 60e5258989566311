import { spawnSync } from "node:child_process";
import { closeSync, fsyncSync, openSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EvictionMethod } from "./cold-result.ts";

/** Of files together. */
export interface Residency {
  readonly bytes: number;
  /** In whole pages, so that it may exceed `bytes` by one page per file. */
  readonly residentBytes: number;
}

export type Eviction =
  | { readonly method: Exclude<EvictionMethod, "none">; readonly residency: Residency }
  | { readonly method: "none"; readonly reason: string };

export interface EvictionOptions {
  /** Also try what empties the page cache of the whole machine, which its other processes feel. Needs root. */
  readonly isMachineWide: boolean;
}

/** A file that counts as cold may keep this share: what a neighbour's read-ahead brings back at once. */
const coldShare = 0.01;
const dropCachesFile = "/proc/sys/vm/drop_caches";

/** The files of a checkpoint folder that a load reads: weights, their index, configuration, tokenizer. */
export function modelFiles(folder: string): readonly string[] {
  return readdirSync(folder)
    .filter((name) => /\.(safetensors|json)$/.test(name))
    .sort()
    .map((name) => join(folder, name));
}

/** How much of the files lies in the page cache, by util-linux's `fincore`; undefined where it is absent or fails. */
export function residency(files: readonly string[]): Residency | undefined {
  const { status, stdout } = spawnSync("fincore", ["--bytes", "--json", "--output", "RES,SIZE", ...files], {
    encoding: "utf8",
  });
  if (status !== 0) return undefined;
  const rows: readonly { readonly res: number; readonly size: number }[] = JSON.parse(stdout).fincore;
  const sum = (pick: (row: { readonly res: number; readonly size: number }) => number) =>
    rows.reduce((total, row) => total + pick(row), 0);
  return { bytes: sum(({ size }) => size), residentBytes: sum(({ res }) => res) };
}

export function isCold({ bytes, residentBytes }: Residency): boolean {
  return residentBytes <= coldShare * bytes;
}

/**
 * Drops the files from the page cache, and looks whether they went: a copy under another name or a file that was opened anew
 * would not be cold, and the system is free to ignore what it is asked. Node has no posix_fadvise, so `dd` of the GNU
 * coreutils asks (`iflag=nocache count=0` advises POSIX_FADV_DONTNEED for a whole file and reads nothing).
 */
export function evict(files: readonly string[], { isMachineWide }: EvictionOptions): Eviction {
  if (files.length === 0) return { method: "none", reason: "random weights come from no file, so every start is warm" };
  if (residency(files) === undefined) {
    const reason = "fincore (util-linux) is absent, so nothing here could tell whether the files left the page cache";
    return { method: "none", reason };
  }
  const complaint = files.map(dropFile).find((said) => said !== undefined);
  const afterAdvice = residency(files);
  if (afterAdvice !== undefined && isCold(afterAdvice)) return { method: "fadvise", residency: afterAdvice };
  const stayed =
    complaint ??
    `${stayedSentence(afterAdvice)} after posix_fadvise: another process maps them, or the file system lives in memory`;
  if (!isMachineWide) return { method: "none", reason: stayed };
  const refusal = dropEverything();
  const afterDrop = residency(files);
  if (afterDrop !== undefined && isCold(afterDrop)) return { method: "drop-caches", residency: afterDrop };
  return { method: "none", reason: refusal ?? `${stayedSentence(afterDrop)} after ${dropCachesFile} too` };
}

/** @returns what went wrong; undefined if the system was asked */
function dropFile(path: string): string | undefined {
  // Pages that are not on the disk yet would stay.
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  const { error, status, stderr } = spawnSync("dd", [`if=${path}`, "iflag=nocache", "count=0", "status=none"], {
    encoding: "utf8",
  });
  if (error !== undefined) return `dd (GNU coreutils) cannot be run: ${error.message}`;
  return status === 0 ? undefined : `dd does not take iflag=nocache here: ${stderr.trim()}`;
}

/** proc_sys_vm(5): 1 frees the page cache, and keeps directory entries and inodes. */
function dropEverything(): string | undefined {
  try {
    writeFileSync(dropCachesFile, "1\n");
    return undefined;
  } catch (error) {
    return `${dropCachesFile} cannot be written: ${error instanceof Error ? error.message : error}`;
  }
}

function stayedSentence(state: Residency | undefined): string {
  if (state === undefined) return "fincore no longer answers";
  return `${state.residentBytes} of the files' ${state.bytes} bytes stayed in the page cache`;
}
