import { monitorEventLoopDelay } from "node:perf_hooks";
import { Gauge, type Registry } from "prom-client";

const resolutionMilliseconds = 10;

/**
 * How late timers of the server process fire. The quantiles are over the time since the previous scrape. Returns the
 * function that ends the measurement.
 */
export function registerEventLoopMetrics(registry: Registry): () => void {
  const delay = monitorEventLoopDelay({ resolution: resolutionMilliseconds });
  delay.enable();
  // The histogram holds the whole interval between two ticks; what exceeds the asked-for interval is delay.
  const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolutionMilliseconds / 1e3);
  new Gauge({
    name: "kvant_event_loop_delay_seconds",
    help: "How late the server's event loop was since the previous scrape, by quantile.",
    labelNames: ["quantile"],
    registers: [registry],
    collect() {
      if (delay.count === 0) return;
      for (const quantile of [0.5, 0.9, 0.99]) {
        this.set({ quantile: String(quantile) }, seconds(delay.percentile(quantile * 100)));
      }
      this.set({ quantile: "1" }, seconds(delay.max));
      delay.reset();
    },
  });
  return () => delay.disable();
}
