import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { KvantError } from "@kvant/core";

/** Runs on Node 20 and brings CPU binaries as npm packages. */
export const peerVersion = "3.22.1";

/**
 * Installs node-llama-cpp and its binary for this machine from npm into a folder. Install scripts do not run and the GPU
 * packages (hundreds of megabytes) are left out, so nothing else is downloaded and nothing is compiled.
 * @throws KvantError BACKEND_UNAVAILABLE with npm's own words
 */
export async function installPeer(folder: string): Promise<void> {
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "peers", private: true }));
  const platform = process.platform === "darwin" ? "mac" : "linux";
  const binary = `${platform}-${process.arch}${platform === "mac" && process.arch === "arm64" ? "-metal" : ""}`;
  const packages = [`node-llama-cpp@${peerVersion}`, `@node-llama-cpp/${binary}@${peerVersion}`];
  const flags = ["--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const child = spawn("npm", ["install", ...flags, ...packages], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  const code = await new Promise<number | string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (status, signal) => resolve(signal ?? status ?? 1));
  });
  if (code === 0) return;
  throw new KvantError("BACKEND_UNAVAILABLE", `npm could not install ${packages.join(" and ")} (${code}): ${output}`);
}
