// npm run soak [-- --laps 4 --rounds 10 --streams 64 --url http://127.0.0.1:8000]
// Load with leaving clients: every round opens streams of mixed lengths at once and drops a third of them at random points;
// a lap is some rounds without a pause. All others must get the text that each gets alone. Prints, per lap, the event-loop delay of the server process, resident
// memory and used pages, all from /metrics. Starts `kvant serve` unless --url names a server.
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    laps: { type: "string", default: "4" },
    rounds: { type: "string", default: "10" },
    streams: { type: "string", default: "64" },
    url: { type: "string" },
  },
});
const laps = Number(values.laps);
const rounds = Number(values.rounds);
const streams = Number(values.streams);

async function startServer(): Promise<{ url: string; server: ChildProcess }> {
  const cli = fileURLToPath(new URL("../apps/cli/bin/kvant.js", import.meta.url));
  const args = [cli, "serve", "--port", "0", "--no-grpc", "--log-level", "error"];
  const server = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "pipe"] });
  const url = await new Promise<string>((resolve, reject) => {
    server.once("exit", (code) => reject(new Error(`kvant serve ended with ${code}`)));
    server.stderr!.setEncoding("utf8").on("data", (text: string) => {
      const match = /ready at (http:\S+?),?\s/.exec(text);
      if (match !== null) resolve(match[1]!);
    });
  });
  return { url, server };
}

function bodyOf(index: number): object {
  return {
    model: "tiny",
    prompt: `Chapter ${index}. ${"The night was dark and the wind was high. ".repeat(index % 11)}`,
    max_tokens: 16 + ((index * 37) % 112),
    temperature: 0,
    ignore_eos: true,
    stream: true,
  };
}

/** The text of a stream; undefined when it was dropped after `dropAfter` events. */
async function read(url: string, index: number, dropAfter: number): Promise<string | undefined> {
  const controller = new AbortController();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(bodyOf(index)),
    signal: controller.signal,
  });
  if (!response.ok || response.body === null) throw new Error(`status ${response.status}: ${await response.text()}`);
  let text = "";
  let events = 0;
  let rest = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith("data: {")) continue;
      text += JSON.parse(line.slice(6)).choices[0]?.text ?? "";
      if (++events < dropAfter) continue;
      controller.abort();
      return undefined;
    }
  }
  return text;
}

type Metrics = (name: string) => number;

/** One scrape: quantiles of the event-loop delay are over the time since the one before. */
async function scrape(url: string): Promise<Metrics> {
  const lines = (await (await fetch(`${url}/metrics`)).text()).split("\n");
  return (name) => {
    const line = lines.find((candidate) => candidate.startsWith(`${name} `));
    if (line === undefined) throw new Error(`/metrics has no ${name}`);
    return Number(line.slice(name.length + 1));
  };
}

/** Delay is scraped as the round ends, memory and pages when the engine has told its last state. */
async function report(url: string, label: string, begin: number): Promise<Metrics> {
  const seconds = (performance.now() - begin) / 1000;
  const busy = await scrape(url);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const idle = await scrape(url);
  const delay = (quantile: string) =>
    (busy(`kvant_event_loop_delay_seconds{quantile="${quantile}"}`) * 1000).toFixed(2);
  const resident = (process: string) => (idle(`kvant_process_resident_bytes{process="${process}"}`) / 1e6).toFixed(1);
  console.log(
    `${label}: ${seconds.toFixed(2)} s; event-loop delay p99 ${delay("0.99")} ms, max ${delay("1")} ms; ` +
      `resident server ${resident("server")} MB, engine ${resident("engine")} MB; used pages ${idle('kvant_kv_pages{state="used"}')}`,
  );
  return idle;
}

const started = values.url === undefined ? await startServer() : { url: values.url, server: undefined };
const { url } = started;
try {
  const alone: (string | undefined)[] = [];
  const first = performance.now();
  for (let index = 0; index < streams; index++) alone.push(await read(url, index, Number.POSITIVE_INFINITY));
  let last = await report(url, "one after the other", first);
  let wrong = 0;
  for (let lap = 1; lap <= laps; lap++) {
    const begin = performance.now();
    for (let round = 0; round < rounds; round++) {
      const results = await Promise.all(
        alone.map(async (_, index) => {
          const leaves = (index + round) % 3 === 0;
          return read(url, index, leaves ? 1 + Math.floor(Math.random() * 40) : Number.POSITIVE_INFINITY);
        }),
      );
      wrong += results.filter((text, index) => text !== undefined && text !== alone[index]).length;
    }
    last = await report(url, `lap ${lap} of ${laps}, ${rounds} rounds of ${streams} streams`, begin);
  }
  console.log(
    wrong === 0 ? "every stream that stayed gave the text it gives alone" : `${wrong} streams differ from alone`,
  );
  if (wrong > 0 || last('kvant_kv_pages{state="used"}') !== 0) process.exitCode = 1;
} finally {
  started.server?.kill("SIGTERM");
}
