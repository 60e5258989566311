// npx tsx --conditions=@kvant/source scripts/bench-client.ts [--rates 5000,10000,20000,40000] [--seconds 4] [--rounds 3] [--streams 256] [--workers 1]
// What the load client adds: a scripted server in a process of its own streams tokens, each written by itself; both ends read one
// monotonic clock. Rates are measured in turn, round after round, and a row is the median of its rounds, so that one outlier of a busy
// machine decides nothing. Real-time priority (chrt -r 10 npx …) keeps what else runs there out of the figures. Ends with 1 if the bar
// is not kept, or if no rate reaches it.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { type ClientMeasurement, measureClient } from "../bench/src/client/measure-client.ts";
import { testWorkerCommand } from "../bench/src/client/testing/test-worker-command.ts";
import { median } from "../bench/src/median.ts";

/** What the client has to take, and what it may add there: a server's own pauses between tokens are several times as long. */
const bar = { tokensPerSecond: 20_000, addedP99Seconds: 0.005 };

/** Of what was asked: a little of it falls on the edges of the measured time. */
const leastShareThatCame = 0.95;

const { values: flags } = parseArgs({
  options: {
    rates: { type: "string", default: "5000,10000,20000,40000" },
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
    streams: { type: "string", default: "256" },
    workers: { type: "string", default: "1" },
  },
});
const rates = flags.rates.split(",").map(Number);
const rounds = Number(flags.rounds);

const measured = new Map(rates.map((rate) => [rate, [] as ClientMeasurement[]]));
for (let round = 0; round < rounds; round++) {
  for (const rate of rates) {
    const measurement = await measureClient({
      workerCommand: testWorkerCommand,
      tokensPerSecond: rate,
      seconds: Number(flags.seconds),
      streams: Number(flags.streams),
      workers: Number(flags.workers),
    });
    measured.get(rate)!.push(measurement);
  }
}

const rows = [...measured].map(([rate, each]) => {
  const medianOf = (figure: (measurement: ClientMeasurement) => number) => median(each.map(figure));
  return {
    rate,
    came: medianOf((measurement) => measurement.measuredTokensPerSecond),
    addedP50: medianOf((measurement) => measurement.addedP50Seconds),
    addedP99: medianOf((measurement) => measurement.addedP99Seconds),
    couldTake: medianOf((measurement) => measurement.tokensPerSecond),
  };
});

const load = `${flags.streams} streams, ${flags.seconds} s, median of ${rounds} rounds`;
console.log(`${availableParallelism()} cores, ${flags.workers} workers, ${load}`);
console.log("asked tok/s  came tok/s  added p50 us  added p99 us  could take tok/s");
for (const { rate, came, addedP50, addedP99, couldTake } of rows) {
  const cells = [
    String(rate).padStart(11),
    came.toFixed(0).padStart(10),
    (addedP50 * 1e6).toFixed(0).padStart(12),
    (addedP99 * 1e6).toFixed(0).padStart(12),
    couldTake.toFixed(0).padStart(16),
  ];
  console.log(cells.join("  "));
}

const keeping = rows.find(
  ({ rate, came, addedP99 }) =>
    rate >= bar.tokensPerSecond && came >= leastShareThatCame * rate && addedP99 < bar.addedP99Seconds,
);
const demand = `${bar.tokensPerSecond} tokens per second with less than ${1e3 * bar.addedP99Seconds} ms added (p99)`;
console.log(keeping === undefined ? `NOT kept: ${demand}` : `kept: ${demand}, at ${keeping.rate} asked`);
if (keeping === undefined) process.exitCode = 1;
