import { monitorEventLoopDelay } from "node:perf_hooks";
import { errorCode, KvantError } from "@kvant/core";
import type { RequestRecord } from "../load/request-record.ts";
import { ScriptedServer } from "../scripted-server/scripted-server.ts";
import type { CountTokens } from "./answer.ts";
import { LoadClock } from "./load-clock.ts";
import { LoadDriver } from "./load-driver.ts";
import type { LoadTarget } from "./load-target.ts";
import type { LoadTransport } from "./load-transport.ts";
import { tokenCounter } from "./token-counter.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./worker-messages.ts";

const reportMilliseconds = 250;
const takenMilliseconds = 5;
/** Live figures are of so many values of a report: a display shows no more, and the channel carries less. */
const liveValues = 4096;
const delayResolutionMilliseconds = 10;

/** Serves the process that started this one until the channel closes: as a part of the client, or as the scripted server. */
export function serveLoadWorker(): void {
  const say = (message: FromWorker): void => {
    process.send?.(message);
  };
  let worker: LoadWorker | undefined;
  let server: ScriptedServer | undefined;
  const handle = async (message: ToWorker): Promise<void> => {
    switch (message.type) {
      case "open":
        worker = await LoadWorker.open(message.target, say);
        return say({ type: "ready" });
      case "serve":
        server = new ScriptedServer();
        return say({ type: "serving", port: await server.listen() });
      case "stall":
        return server?.stall(message.seconds);
      case "sent-times":
        return say({ type: "sent-times", times: server?.takeSentTimes() ?? new Map() });
      default:
        if (worker === undefined)
          throw new KvantError("INTERNAL", `a load worker that is not open was told ${message.type}`);
        return worker.handle(message);
    }
  };
  process.on("message", (message: ToWorker) => {
    handle(message).catch((error: unknown) => {
      say({ type: "failed", code: errorCode(error), message: error instanceof Error ? error.message : String(error) });
    });
  });
  // Signals of a terminal or a supervisor are meant for the whole group; the load ends its workers when it has what they know.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => undefined);
  process.on("disconnect", () => process.exit(0));
}

/** One client process of a load. */
class LoadWorker {
  readonly #transport: LoadTransport;
  readonly #countTokens: CountTokens | undefined;
  readonly #say: (message: FromWorker) => void;
  #driver: LoadDriver | undefined;
  #records: RequestRecord[] = [];
  #sent = 0;
  #chunks = 0;
  #taken = 0;
  readonly #firstTokens = new LiveValues();
  readonly #gaps = new LiveValues();

  static async open(target: LoadTarget, say: (message: FromWorker) => void): Promise<LoadWorker> {
    const countTokens = target.tokenizerFolder === undefined ? undefined : await tokenCounter(target.tokenizerFolder);
    return new LoadWorker(await transportTo(target), countTokens, say);
  }

  private constructor(
    transport: LoadTransport,
    countTokens: CountTokens | undefined,
    say: (message: FromWorker) => void,
  ) {
    this.#transport = transport;
    this.#countTokens = countTokens;
    this.#say = say;
  }

  handle(message: ToWorker): void {
    if (message.type === "start") this.#start(message.start);
    else if (message.type === "dialogues") this.#driver?.add(message.dialogues);
    else if (message.type === "complete") this.#driver?.complete();
    else if (message.type === "cancel") this.#driver?.cancel();
  }

  #start({ startNanoseconds, users, stopAt, deadlineSeconds }: WorkerStart): void {
    const clock = new LoadClock(startNanoseconds);
    const delay = monitorEventLoopDelay({ resolution: delayResolutionMilliseconds });
    delay.enable();
    const before = performance.eventLoopUtilization();
    const reports = setInterval(() => this.#report(), reportMilliseconds);
    const taken = setInterval(() => this.#sayTaken(), takenMilliseconds);
    const driver = new LoadDriver({
      clock,
      transport: this.#transport,
      ...(users === undefined ? {} : { users }),
      stopAt,
      deadlineSeconds,
      ...(this.#countTokens === undefined ? {} : { countTokens: this.#countTokens }),
      onRecord: (record) => this.#records.push(record),
      onTaken: () => this.#taken++,
      onSent: () => this.#sent++,
      onFirstToken: (seconds) => {
        this.#chunks++;
        this.#firstTokens.add(seconds);
      },
      onGap: (seconds) => {
        this.#chunks++;
        this.#gaps.add(seconds);
      },
      onIdle: () => {
        clearInterval(reports);
        clearInterval(taken);
        delay.disable();
        const { active, idle } = performance.eventLoopUtilization(before);
        const busyMilliseconds = Math.max(0, active - driver.idleSeconds * 1000);
        this.#report();
        this.#transport.close();
        this.#say({
          type: "idle",
          load: {
            busyShare: busyMilliseconds / Math.max(1e-9, active + idle),
            busySeconds: busyMilliseconds / 1000,
            loopDelayP99Seconds: Math.max(0, delay.percentile(99) / 1e6 - delayResolutionMilliseconds) / 1000,
          },
        });
      },
    });
    this.#driver = driver;
  }

  #sayTaken(): void {
    if (this.#taken === 0) return;
    this.#say({ type: "taken", count: this.#taken });
    this.#taken = 0;
  }

  #report(): void {
    this.#sayTaken();
    const [records, sent, chunks] = [this.#records, this.#sent, this.#chunks];
    this.#records = [];
    this.#sent = 0;
    this.#chunks = 0;
    this.#say({
      type: "report",
      report: { records, sent, chunks, firstTokens: this.#firstTokens.take(), gaps: this.#gaps.take() },
    });
  }
}

class LiveValues {
  readonly #values = new Float32Array(liveValues);
  #count = 0;

  add(value: number): void {
    if (this.#count < liveValues) this.#values[this.#count++] = value;
  }

  take(): Float32Array {
    const taken = this.#values.slice(0, this.#count);
    this.#count = 0;
    return taken;
  }
}

/** gRPC is loaded where it is spoken. */
async function transportTo(target: LoadTarget): Promise<LoadTransport> {
  if (target.dialect === "kvant-grpc") return (await import("./grpc-transport.ts")).GrpcTransport.open(target);
  return new (await import("./http-transport.ts")).HttpTransport(target);
}
