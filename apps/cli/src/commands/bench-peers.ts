import { measurePeers, type PeerMeasurement, servePeer } from "@kvant/bench";
import { printRow, say, table } from "../print.ts";

export interface BenchPeersFlags {
  readonly shape: readonly string[];
  readonly bits: readonly number[];
  readonly context: readonly number[];
  readonly decodeTokens: number;
  readonly kvBits: number;
  readonly threads?: number;
  readonly rounds: number;
  readonly server?: boolean;
  readonly keep?: boolean;
  readonly json?: boolean;
}

/** The hidden command that a measured process runs. */
export const peerProcessArgs = ["bench", "peer-process"] as const;

/** Measures Kvant and node-llama-cpp in turn; with `--json` each row is printed as soon as it is known. */
export async function benchPeers(flags: BenchPeersFlags): Promise<void> {
  const rows: PeerMeasurement[] = [];
  for await (const row of measurePeers({
    shapes: flags.shape,
    bits: flags.bits,
    contexts: flags.context,
    decodeTokens: flags.decodeTokens,
    kvBits: flags.kvBits,
    rounds: flags.rounds,
    streams: flags.server ?? false,
    keep: flags.keep ?? false,
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    command: { entry: process.argv[1]!, args: peerProcessArgs },
    onProgress: say,
  })) {
    rows.push(row);
    if (flags.json) printRow(row);
  }
  if (!flags.json) process.stdout.write(`${ratioTable(rows)}\n`);
}

export function peerProcess(): void {
  servePeer();
}

function ratioTable(rows: readonly PeerMeasurement[]): string {
  const header = ["shape", "bits", "measure", "context", "Kvant", "peer", "ratio", "weights", "peer's", "probe GB/s"];
  const lines = rows.map((row) => [
    row.shape,
    String(row.bits),
    row.measure,
    String(row.context),
    `${row.kvant.toFixed(2)} ${unit(row)}`,
    `${row.peerValue.toFixed(2)} ${unit(row)}`,
    row.ratio.toFixed(2),
    row.kvantWeights,
    row.peerWeights,
    row.probeReadGigabytesPerSecond.toFixed(1),
  ]);
  const [first] = rows;
  const title =
    first === undefined ? "" : `Kvant beside ${first.peer}, ${first.threads} threads, ${first.kvBits}-bit KV\n`;
  return title + table(header, lines);
}

function unit({ measure }: PeerMeasurement): string {
  return measure === "8 streams, first token" ? "s" : "tok/s";
}
