import { type ChildProcess, fork } from "node:child_process";
import { type ErrorCode, KvantError } from "@kvant/core";
import type { WorkerCommand } from "./worker-command.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

/** Of a process that was told to end; one whose event loop hangs in a regular expression or a kernel call never hears of it. */
const patienceMilliseconds = 5000;

/** A process that serves a load. It ends with `close`, and with its parent. */
export class WorkerProcess {
  readonly #child: ChildProcess;
  readonly #listeners = new Set<(message: FromWorker) => void>();
  #failure: KvantError | undefined;
  #onFailure: (error: KvantError) => void = () => undefined;
  #isClosing = false;

  constructor({ entry, args, execArgv = process.execArgv }: WorkerCommand) {
    this.#child = fork(entry, args, {
      execArgv: [...execArgv],
      serialization: "advanced",
      stdio: ["ignore", 2, 2, "ipc"],
    });
    this.#child.on("message", (message: FromWorker) => {
      if (message.type === "failed") this.#fail(message.message, message.code);
      else for (const listener of this.#listeners) listener(message);
    });
    this.#child.on("error", (error) => this.#fail(error.message));
    this.#child.once("exit", (code, signal) => {
      if (!this.#isClosing) this.#fail(`it ended with ${signal ?? code}`);
    });
  }

  send(message: ToWorker): void {
    if (this.#child.connected) this.#child.send(message);
  }

  onMessage(listener: (message: FromWorker) => void): void {
    this.#listeners.add(listener);
  }

  /** Calls at once where it has already failed. */
  onFailure(listener: (error: KvantError) => void): void {
    this.#onFailure = listener;
    if (this.#failure !== undefined) listener(this.#failure);
  }

  /**
   * The next message of a kind.
   * @throws KvantError when the process fails first: its own refusal, or INTERNAL where it died
   */
  next<Type extends FromWorker["type"]>(type: Type): Promise<Extract<FromWorker, { type: Type }>> {
    return new Promise((resolve, reject) => {
      const listener = (message: FromWorker): void => {
        if (message.type !== type) return;
        this.#listeners.delete(listener);
        resolve(message as Extract<FromWorker, { type: Type }>);
      };
      this.#listeners.add(listener);
      this.onFailure(reject);
    });
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    if (this.#child.connected) this.#child.disconnect();
    const patience = setTimeout(() => this.#child.kill("SIGKILL"), patienceMilliseconds);
    await ended;
    clearTimeout(patience);
  }

  #fail(sentence: string, code: ErrorCode = "INTERNAL"): void {
    const message = code === "INTERNAL" ? `a client process of the load failed: ${sentence}` : sentence;
    this.#failure ??= new KvantError(code, message);
    this.#onFailure(this.#failure);
  }
}
