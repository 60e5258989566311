import { type ChildProcess, fork } from "node:child_process";
import { KvantError } from "@kvant/core";
import { openKvant } from "./kvant-runner.ts";
import { openLlama } from "./llama-runner.ts";
import type { PeerOptions, PeerRunner, PeerTimes } from "./peer-runner.ts";

/** How to start a process that calls `servePeer`. */
export interface PeerCommand {
  readonly entry: string;
  readonly args: readonly string[];
}

type ToPeer =
  | { readonly type: "open"; readonly options: PeerOptions }
  | { readonly type: "run"; readonly prompts: readonly (readonly number[])[]; readonly decodeTokens: number };
type FromPeer =
  | { readonly type: "done"; readonly times: PeerTimes | undefined }
  | { readonly type: "failed"; readonly message: string };

/** Opens a runner in a fresh process. It ends with `close`, and with its parent. */
export async function startPeer(command: PeerCommand, options: PeerOptions): Promise<PeerRunner> {
  const child = fork(command.entry, command.args, { stdio: ["ignore", 2, 2, "ipc"] });
  await ask(child, { type: "open", options });
  return {
    async run(prompts, decodeTokens) {
      const times = await ask(child, { type: "run", prompts, decodeTokens });
      if (times === undefined) throw new KvantError("INTERNAL", "a run came back without times");
      return times;
    },
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.disconnect();
      await ended;
    },
  };
}

/** The child's side: serves its parent until the channel closes. */
export function servePeer(): void {
  let runner: PeerRunner | undefined;
  const answer = (message: FromPeer) => process.send?.(message);
  const handle = async (message: ToPeer): Promise<PeerTimes | undefined> => {
    if (message.type === "run") return runner?.run(message.prompts, message.decodeTokens);
    const { options } = message;
    runner = options.peerFolder === undefined ? await openKvant(options) : await openLlama(options, options.peerFolder);
    return undefined;
  };
  process.on("message", (message: ToPeer) => {
    handle(message).then(
      (times) => answer({ type: "done", times }),
      (error: unknown) => answer({ type: "failed", message: error instanceof Error ? error.message : String(error) }),
    );
  });
  process.on("disconnect", () => process.exit(0));
}

function ask(child: ChildProcess, message: ToPeer): Promise<PeerTimes | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (error: string | undefined, times?: PeerTimes): void => {
      child.off("message", heard);
      child.off("exit", ended);
      if (error === undefined) resolve(times);
      else reject(new KvantError("INTERNAL", `the measured process failed: ${error}`));
    };
    const heard = (reply: FromPeer): void =>
      reply.type === "done" ? settle(undefined, reply.times) : settle(reply.message);
    const ended = (code: number | null, signal: string | null): void => settle(`it ended with ${signal ?? code}`);
    child.on("message", heard);
    child.on("exit", ended);
    child.send(message);
  });
}
