// Faults of the engine behind the real server: each is ordered through KVANT_TEST_FAULT (docs/operations.md), happens once, and
// must leave a server that serves again.
//   --kvant FILE       the command line's entry; default apps/cli/bin/kvant.js
//   --device NAME      default cuda; on cpu only the killed process can be tested
//   --model FOLDER     a config.json to run with random weights; default the golden model llama
//   --only TEXT        only faults whose name holds TEXT
// Prints one line per check; the exit code is 0 only when all passed.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { childProcesses } from "../../bench/src/serving/process-usage.ts";
import { cudaAbsence } from "../../packages/kernels/src/index.ts";

const fromHere = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const { values } = parseArgs({
  options: {
    kvant: { type: "string", default: fromHere("../../apps/cli/bin/kvant.js") },
    device: { type: "string", default: "cuda" },
    model: { type: "string", default: fromHere("../../packages/models/test/golden-models/llama") },
    only: { type: "string", default: "" },
  },
});

const patienceMilliseconds = 60_000;
const streamCount = 4;
const failingStep = 20;
/** Far past the step that fails, and past the moment in which a process is killed, so that every stream runs then. */
const outputTokens = 450;

interface Server {
  readonly child: ChildProcess;
  /** Resolves when it listens; rejects when it ends before. */
  readonly url: Promise<string>;
  readonly exit: Promise<number | null>;
  said(): string;
}

let failures = 0;
const folder = mkdtempSync(join(tmpdir(), "kvant-faults-"));

function expectThat(holds: boolean, sentence: string): void {
  console.log(`  ${holds ? "ok" : "FAILED"}: ${sentence}`);
  if (!holds) failures++;
}

function start(fault: string | undefined): Server {
  const args = [
    ...[
      "serve",
      values.model,
      "--load",
      "dummy",
      "--device",
      values.device,
      "--weights",
      "int8",
      "--kv-format",
      "int8",
    ],
    // The same text again after the restart is part of what is checked.
    "--deterministic",
    // Graphs are then recorded while streams run, which one of the faults strikes.
    "--no-warm-up",
    ...["--kv-memory", "64MiB", "--port", "0", "--no-grpc", "--log-level", "error"],
  ];
  const child = spawn(process.execPath, [values.kvant, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...(fault === undefined ? {} : { KVANT_TEST_FAULT: fault }) },
  });
  let said = "";
  const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
  const url = new Promise<string>((resolve, reject) => {
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      const match = /ready at (http:\/\/\S+)/.exec(said);
      if (match !== null) resolve(match[1]!);
    });
    child.once("close", (code) => reject(new Error(`the server ended with ${code}: ${said}`)));
    setTimeout(() => reject(new Error(`the server is not ready: ${said}`)), patienceMilliseconds).unref();
  });
  url.catch(() => undefined);
  return { child, url, exit, said: () => said };
}

/** The whole answer of a stream: its status and its events. */
async function complete(url: string, salt: number, maxTokens: number): Promise<{ status: number; text: string }> {
  const prompt = Array.from({ length: 12 }, (_, i) => 20 + ((i * 7 + salt * 13) % 90));
  const body = { prompt, max_tokens: maxTokens, temperature: 0, ignore_eos: true, stream: true };
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${url}/v1/completions`, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, text: await answer.text() };
}

/** What a stream says, without what differs from request to request. */
function words({ text }: { readonly text: string }): string {
  return [...text.matchAll(/"text":("(?:[^"\\]|\\.)*")/g)].map((match) => JSON.parse(match[1]!)).join("");
}

async function metric(url: string, name: string): Promise<number> {
  const line = (await (await fetch(`${url}/metrics`)).text()).split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1));
}

/** Whether /ready has answered 503, and then 200 again. */
async function watchReady(url: string): Promise<{ wasAway: boolean; isBack: boolean }> {
  const end = performance.now() + patienceMilliseconds;
  let wasAway = false;
  while (performance.now() < end) {
    const { status } = await fetch(`${url}/ready`);
    if (status === 503) wasAway = true;
    else if (wasAway) return { wasAway, isBack: true };
    await sleep(5);
  }
  return { wasAway, isBack: false };
}

async function loadFault(): Promise<void> {
  console.log("alloc-load: the device has no memory for the weights");
  const server = start("alloc-load");
  const code = await server.exit;
  expectThat(code === 1, `the server ends with 1 (${code})`);
  const sentence = server.said().trim().split("\n").at(-1) ?? "";
  expectThat(/\d+ bytes.*\[OUT_OF_MEMORY\]/.test(sentence), `it says how many bytes were refused ("${sentence}")`);
}

/** `strike` makes the fault happen where the environment does not. */
async function runningFault(name: string, fault: string | undefined, strike?: (server: Server) => void): Promise<void> {
  console.log(`${name}: while ${streamCount} streams run`);
  const server = start(fault);
  try {
    const url = await server.url;
    const watched = watchReady(url);
    const running = Array.from({ length: streamCount }, (_, salt) => complete(url, salt, outputTokens));
    if (strike !== undefined) {
      while ((await metric(url, "kvant_generation_tokens_total")) < 1) await sleep(2);
      strike(server);
    }
    const answers = await Promise.all(running);
    for (const [salt, { status, text }] of answers.entries()) {
      const isTold = status === 200 ? /data: \{"error":/.test(text) && !text.includes("[DONE]") : status >= 500;
      expectThat(isTold, `stream ${salt} ends with an error (status ${status}, "${text.slice(-160).trim()}")`);
    }
    const { wasAway, isBack } = await watched;
    expectThat(wasAway, "/ready answers 503 meanwhile");
    expectThat(isBack, "the engine comes back");
    const again = await Promise.all(
      Array.from({ length: streamCount }, (_, salt) => complete(url, salt, outputTokens)),
    );
    for (const [salt, answer] of again.entries()) {
      const isWhole = answer.status === 200 && answer.text.endsWith("data: [DONE]\n\n");
      expectThat(isWhole, `stream ${salt} is served afterwards (${words(answer).length} characters)`);
      const before = words(answers[salt]!);
      expectThat(words(answer).startsWith(before), `and begins as the one that was cut off after ${before.length}`);
    }
    const restarts = await metric(url, "kvant_engine_restarts_total");
    expectThat(restarts === 1, `the engine was started again once (${restarts})`);
    server.child.kill("SIGTERM");
    expectThat((await server.exit) === 0, "and the server ends with 0 when asked to");
  } catch (error) {
    expectThat(false, `${error}`);
  } finally {
    server.child.kill("SIGKILL");
    await server.exit;
  }
}

const faults: readonly (readonly [name: string, run: () => Promise<void>, needsCuda: boolean])[] = [
  ["alloc-load", loadFault, true],
  ...["alloc-capture", `alloc-step@${failingStep}`, `sticky@${failingStep}`, `download@${failingStep}`].map((place) => {
    const marker = join(folder, place.replace("@", "-"));
    return [place, () => runningFault(place, `${place}:${marker}`), true] as const;
  }),
  [
    "killed",
    () =>
      runningFault("the engine process is killed", undefined, ({ child }) => {
        for (const pid of childProcesses(child.pid!)) process.kill(pid, "SIGKILL");
      }),
    false,
  ],
];

const absence = values.device.startsWith("cuda") ? cudaAbsence() : "the device is not cuda";
for (const [name, run, needsCuda] of faults) {
  if (!name.includes(values.only)) continue;
  if (needsCuda && absence !== undefined) console.log(`SKIPPED ${name}: ${absence}`);
  else if (!needsCuda && values.device.startsWith("cuda") && absence !== undefined)
    console.log(`SKIPPED ${name}: ${absence}`);
  else await run();
}
rmSync(folder, { recursive: true });
console.log(failures === 0 ? "all faults are survived" : `${failures} checks failed`);
process.exitCode = failures === 0 ? 0 : 1;
