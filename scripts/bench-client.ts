// npx tsx --conditions=@kvant/source scripts/bench-client.ts [--rates 5000,10000,20000,40000] [--seconds 4] [--streams 256] [--workers 1]
// What the load client adds: a scripted server in a process of its own streams tokens, each written by itself; both ends read one
// monotonic clock. Real-time priority (chrt -r 10 npx …) keeps what else runs on the machine out of the figures.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { measureClient } from "../bench/src/client/measure-client.ts";
import { testWorkerCommand } from "../bench/src/client/testing/test-worker-command.ts";

const { values: flags } = parseArgs({
  options: {
    rates: { type: "string", default: "5000,10000,20000,40000" },
    seconds: { type: "string", default: "4" },
    streams: { type: "string", default: "256" },
    workers: { type: "string", default: "1" },
  },
});

console.log(`${availableParallelism()} cores, ${flags.workers} workers, ${flags.streams} streams, ${flags.seconds} s`);
console.log("asked tok/s  came tok/s  added p50 us  added p99 us  could take tok/s");
for (const rate of flags.rates.split(",").map(Number)) {
  const measured = await measureClient({
    workerCommand: testWorkerCommand,
    tokensPerSecond: rate,
    seconds: Number(flags.seconds),
    streams: Number(flags.streams),
    workers: Number(flags.workers),
  });
  const microseconds = (seconds: number) => (seconds * 1e6).toFixed(0);
  const cells = [
    String(rate).padStart(11),
    measured.measuredTokensPerSecond.toFixed(0).padStart(10),
    microseconds(measured.addedP50Seconds).padStart(12),
    microseconds(measured.addedP99Seconds).padStart(12),
    measured.tokensPerSecond.toFixed(0).padStart(16),
  ];
  console.log(cells.join("  "));
}
