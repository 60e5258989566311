import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

export interface CliResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line as it ships: bundled into a folder of its own, run in processes of its own. */
export interface BundledCli {
  /** The file that Node runs, for processes that a test starts in its own way. */
  readonly entry: string;
  run(args: readonly string[], environment?: Readonly<Record<string, string>>): Promise<CliResult>;
  start(args: readonly string[]): ReturnType<typeof spawn>;
  remove(): void;
}

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Bundles the sources. The folder lies under node_modules, where the packages that stay outside the bundle are found. */
export async function bundleCli(): Promise<BundledCli> {
  const parent = join(root, "node_modules", ".kvant-test");
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, "bündle with space "));
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  await promisify(execFile)(process.execPath, ["--import", tsx, join(root, "bundle.ts"), folder]).catch((error) => {
    rmSync(folder, { recursive: true });
    throw error;
  });
  const entry = join(folder, "kvant.js");

  return {
    entry,
    start: (args) => spawn(process.execPath, [entry, ...args], { stdio: ["ignore", "pipe", "pipe"] }),
    run: (args, environment = {}) =>
      new Promise((resolve, reject) => {
        const child = spawn(process.execPath, [entry, ...args], {
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...process.env, ...environment },
        });
        let [stdout, stderr] = ["", ""];
        child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
        child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
        child.on("error", reject);
        child.on("close", (exitCode) => resolve({ exitCode, stdout, stderr }));
      }),
    remove: () => rmSync(folder, { recursive: true }),
  };
}

/** Folder of a golden model that @kvant/models keeps for tests: tiny, random weights, no tokenizer. */
export function goldenModel(name: string): string {
  return join(dirname(dirname(root)), "packages", "models", "test", "golden-models", name);
}
