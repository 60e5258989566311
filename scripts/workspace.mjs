import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { missingPrerequisites } from "./prerequisites.mjs";

export const root = fileURLToPath(new URL("..", import.meta.url));
const tools = join(root, ".tools");
const toolBin = join(tools, "node_modules", ".bin");
const npm = process.platform === "win32" ? "npm.cmd" : "npm";

/** The environment of everything that the root scripts start: the workspace's own pnpm first, no telemetry. */
export const environment = {
  ...process.env,
  PATH: [toolBin, join(root, "node_modules", ".bin"), process.env.PATH].join(delimiter),
  TURBO_TELEMETRY_DISABLED: "1",
  DO_NOT_TRACK: "1",
  TURBO_NO_UPDATE_NOTIFIER: "1",
};

export function say(sentence) {
  process.stderr.write(`kvant: ${sentence}\n`);
}

/** Runs a command in the repository root; its output goes to standard error. Ends this process when it fails. */
export function must(command, args, what) {
  const { status, error } = spawnSync(command, args, { cwd: root, env: environment, stdio: ["ignore", 2, 2] });
  if (status === 0) return;
  say(`${what} failed (${error?.message ?? `${command} ${args.join(" ")} ended with ${status}`})`);
  process.exit(1);
}

function digest(paths) {
  const hash = createHash("sha256");
  for (const path of paths) hash.update(path).update(readFileSync(join(root, path)));
  return hash.digest("hex");
}

function manifests() {
  const folders = ["packages", "apps"].flatMap((parent) =>
    readdirSync(join(root, parent)).map((name) => join(parent, name)),
  );
  return ["", "native", "proto", "bench", ...folders]
    .map((folder) => join(folder, "package.json"))
    .filter((path) => existsSync(join(root, path)));
}

/** Installs pnpm into .tools and the dependencies into node_modules, unless the lockfile and manifests are as last time. */
function install() {
  const stamp = join(tools, "installed.sha256");
  const wanted = digest(["pnpm-lock.yaml", "pnpm-workspace.yaml", ...manifests()]);
  if (existsSync(stamp) && existsSync(join(root, "node_modules")) && readFileSync(stamp, "utf8") === wanted) return;
  const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  mkdirSync(tools, { recursive: true });
  const installed = join(tools, "node_modules", "pnpm", "package.json");
  const isThere =
    existsSync(installed) && `pnpm@${JSON.parse(readFileSync(installed, "utf8")).version}` === packageManager;
  if (!isThere) {
    say(`installing ${packageManager} into .tools`);
    must(
      npm,
      ["install", "--prefix", tools, "--no-audit", "--no-fund", "--loglevel=error", packageManager],
      "installing pnpm",
    );
  }
  say("installing dependencies");
  must("pnpm", ["install", "--frozen-lockfile", "--reporter=append-only"], "installing dependencies");
  writeFileSync(stamp, wanted);
}

/** Checks the prerequisites and installs. Ends this process with what is missing and how to get it. */
export function prepare() {
  const missing = missingPrerequisites();
  if (missing.length > 0) {
    for (const sentence of missing) say(sentence);
    process.exit(1);
  }
  install();
}

/** Runs a task in every package that has it; turbo skips what has not changed. */
export function turbo(task, args = []) {
  must("turbo", ["run", task, "--output-logs=errors-only", "--no-update-notifier", ...args], task);
}
