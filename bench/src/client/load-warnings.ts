import type { LoadRun } from "./load-run.ts";

/** Above it a worker's figures are its own as much as the server's. */
const busyLimit = 0.7;
const delayLimitSeconds = 0.005;

/** What a reader of the figures should know about how they came about. */
export function loadWarnings(run: Omit<LoadRun, "warnings">, metricsFailure: string | undefined): readonly string[] {
  const { client, histograms, totals, isInterrupted, recordsAreSampled } = run;
  const warnings: string[] = [];
  const milliseconds = (seconds: number) => `${(seconds * 1000).toFixed(1)} ms`;
  if (totals.requests === 0) warnings.push("no request was measured: none was due in the measured time");
  if (isInterrupted) warnings.push("the load was interrupted: requests that were open count as cancelled");
  if (client.busyShare > busyLimit) {
    const percent = (client.busyShare * 100).toFixed(0);
    warnings.push(
      `a client process was busy ${percent} % of the time and may have been the bottleneck; use more workers`,
    );
  }
  if (client.loopDelayP99Seconds > delayLimitSeconds) {
    const delay = milliseconds(client.loopDelayP99Seconds);
    warnings.push(
      `a client process was late by ${delay} (p99), which stands in every latency: the machine is too busy`,
    );
  }
  const late = histograms.sendDelay.quantile(0.99) ?? 0;
  if (late > delayLimitSeconds) {
    warnings.push(`requests were sent up to ${milliseconds(late)} late (p99), which counts as the server's latency`);
  }
  const byChunks = totals.countedBy.chunks ?? 0;
  if (byChunks > 0) {
    warnings.push(
      `${byChunks} answers came without usage: their tokens were counted by chunks, which may hold several`,
    );
  }
  const clamped = Object.values(histograms).reduce((sum, { clampedCount }) => sum + clampedCount, 0);
  if (clamped > 0) warnings.push(`${clamped} latencies were out of range, and count as 0 or as one hour`);
  if (recordsAreSampled) warnings.push("the load had more requests than are kept: single requests are a random sample");
  if (metricsFailure !== undefined) warnings.push(`the server's metrics could not always be read: ${metricsFailure}`);
  return warnings;
}
