import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { KvantError } from "@kvant/core";

export interface ServerCommand {
  /** The command line's entry file, run by this Node. */
  readonly entry: string;
  /** What follows `serve`: a model and its flags. */
  readonly serveArgs: readonly string[];
}

/** A server that is ready, and when it came so far, by `performance.now`. */
export interface StartedServer {
  readonly url: string;
  readonly pid: number;
  readonly startedAt: number;
  readonly loadingAt: number;
  readonly loadedAt: number;
  readonly listeningAt: number;
  readonly readyAt: number;
  /** Resolves when the process is gone. */
  stop(): Promise<void>;
}

/** What `kvant serve` says on standard error, in this order. */
const milestones = { loading: /^kvant: loading /, loaded: /; loaded in /, listening: /ready at (http:\/\/[^\s,]+)/ };
/** Longer than a drain of an idle server; then it is ended the hard way. */
const patienceMilliseconds = 20_000;
const pollMilliseconds = 1;
/** More of what a failed server said helps nobody. */
const saidCharacters = 4000;

/**
 * Starts `kvant serve` on a free port and waits until `/ready` says 200. It ends with this process, unless that is killed by a
 * signal that nothing here hears.
 * @throws KvantError INTERNAL with what the server said, if it ends before or the signal comes first; the process is gone then
 */
export async function startServer({ entry, serveArgs }: ServerCommand, signal: AbortSignal): Promise<StartedServer> {
  const args = [entry, "serve", ...serveArgs, "--port", "0", "--no-grpc", "--log-level", "error"];
  const startedAt = performance.now();
  const child = spawn(process.execPath, [...process.execArgv, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  const endWithParent = (): void => void child.kill();
  process.once("exit", endWithParent);
  child.once("exit", () => process.off("exit", endWithParent));
  try {
    const said = await saidMilestones(child, signal);
    await untilReady(said.url, signal);
    return { ...said, pid: child.pid!, startedAt, readyAt: performance.now(), stop: () => stop(child) };
  } catch (error) {
    await stop(child);
    throw error;
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const patience = setTimeout(() => child.kill("SIGKILL"), patienceMilliseconds);
  await ended;
  clearTimeout(patience);
}

type Said = Pick<StartedServer, "url" | "loadingAt" | "loadedAt" | "listeningAt">;

function saidMilestones(child: ChildProcess, signal: AbortSignal): Promise<Said> {
  return new Promise((resolve, reject) => {
    let [loadingAt, loadedAt] = [Number.NaN, Number.NaN];
    let [said, rest] = ["", ""];
    const giveUp = (how: string): void => {
      signal.removeEventListener("abort", timedOut);
      reject(new KvantError("INTERNAL", `the server ${how} before it was ready; it said: ${said.trim()}`));
    };
    const timedOut = (): void => giveUp("was given up");
    if (signal.aborted) return timedOut();
    signal.addEventListener("abort", timedOut, { once: true });
    child.once("error", (error) => giveUp(`could not be started (${error.message})`));
    // Not `exit`: what it said last may still be in the pipe then.
    child.once("close", (code, killedBy) => giveUp(`ended with ${killedBy ?? code}`));
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      const now = performance.now();
      said = (said + text).slice(-saidCharacters);
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        if (milestones.loading.test(line)) loadingAt = now;
        if (milestones.loaded.test(line)) loadedAt = now;
        const url = milestones.listening.exec(line)?.[1];
        if (url === undefined) continue;
        signal.removeEventListener("abort", timedOut);
        resolve({ url, loadingAt, loadedAt, listeningAt: now });
      }
    });
  });
}

async function untilReady(url: string, signal: AbortSignal): Promise<void> {
  while ((await readyStatus(url, signal)) !== 200) await delay(pollMilliseconds, undefined, { signal });
}

function readyStatus(url: string, signal: AbortSignal): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(`${url}/ready`, { agent: false, signal }, (response) => {
      response.resume().once("end", () => resolve(response.statusCode));
    }).once("error", reject);
  });
}
