import {
  type CalibrationGram,
  type ForwardLayerOptions,
  type LayerTensors,
  MagnitudeCounts,
  PartCollector,
  type PartStatistics,
  type QuantizeRuntime,
  type StatisticsCollector,
} from "@kvant/quantizers";
import { PhaseClock } from "./phase-clock.ts";
import { RandomLayer } from "./random-layer.ts";

/** A random layer that tells where the time of `quantizeModel` goes: its first pass gathers statistics, its second feeds the next layer. */
export class TimedLayer extends RandomLayer {
  #clock = new PhaseClock();
  #passes = 0;

  /** A clock for the layer that comes next. */
  startClock(): PhaseClock {
    this.#clock = new PhaseClock();
    this.#passes = 0;
    return this.#clock;
  }

  override get collectors(): NonNullable<QuantizeRuntime["collectors"]> {
    const own = this.runner.collectors;
    return {
      statistics: (width, tokenCount) =>
        this.#timed(own?.statistics(width, tokenCount) ?? new PartCollector(width, tokenCount)),
      magnitudes: (width) => own?.magnitudes(width) ?? new MagnitudeCounts(),
    };
  }

  override forwardLayer(
    layer: number,
    tensors: LayerTensors,
    states: readonly Float32Array[],
    options: ForwardLayerOptions,
  ): Promise<void> {
    const phase = this.#passes++ % 2 === 0 ? "statistics" : "forward again";
    return this.#clock.timeAsync(phase, () => super.forwardLayer(layer, tensors, states, options));
  }

  /** The collector itself, so that the runner knows it; only what it says in the end is wrapped. */
  #timed(collector: StatisticsCollector): StatisticsCollector {
    const statistics = collector.statistics.bind(collector);
    collector.statistics = (): PartStatistics => {
      const clock = this.#clock;
      const seen = clock.time("statistics", statistics);
      return { ...seen, gram: timedGram(seen.gram, clock) };
    };
    return collector;
  }
}

function timedGram(gram: CalibrationGram, clock: PhaseClock): CalibrationGram {
  return {
    width: gram.width,
    read: () => gram.read(),
    divide: (scales) =>
      timedGram(
        clock.time("awq scales", () => gram.divide(scales)),
        clock,
      ),
    quantizeGptq: (...request) => clock.time("gptq", () => gram.quantizeGptq(...request)),
    searchAwqScales: (request) => clock.time("awq scales", () => gram.searchAwqScales(request)),
    searchAwqClip: (request) => clock.time("awq clipping", () => gram.searchAwqClip(request)),
    outputError: (...request) => clock.time("output errors", () => gram.outputError(...request)),
    release: () => gram.release(),
  };
}
