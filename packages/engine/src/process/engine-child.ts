import { type ChildProcess, fork } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { FromEngine, ToEngine } from "./protocol.ts";

/** The process entry that lies beside this file, as source or built. */
export const defaultEntry = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "./main.ts" : "./main.js", import.meta.url),
);

/** Starts an engine process. A TypeScript entry runs through tsx with the workspace's sources. */
export function startChild(entry: string): ChildProcess {
  const execArgv = entry.endsWith(".ts")
    ? ["--conditions=@kvant/source", "--import", pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href]
    : [];
  // `advanced` keeps typed arrays; standard error stays visible, standard output belongs to the parent's own rows.
  return fork(entry, [], { execArgv, serialization: "advanced", stdio: ["ignore", 2, 2, "ipc"] });
}

export function tell(child: ChildProcess, message: ToEngine): void {
  // A child that has just died is reported by its exit event.
  if (child.connected) child.send(message, () => undefined);
}

export function listen(
  child: ChildProcess,
  onMessage: (message: FromEngine) => void,
  onExit: (reason: string) => void,
): void {
  let isOver = false;
  const exit = (reason: string): void => {
    if (isOver) return;
    isOver = true;
    onExit(reason);
  };
  child.on("message", (message: FromEngine) => {
    if (!isOver) onMessage(message);
  });
  child.on("error", (error) => exit(error.message));
  child.on("exit", (code, signal) => {
    const reason = signal === null ? `exit code ${code}` : `signal ${signal}`;
    // Its last messages, the reason of its death among them, may still be in the channel; they come before `disconnect`.
    if (child.connected) child.once("disconnect", () => exit(reason));
    else exit(reason);
  });
}
