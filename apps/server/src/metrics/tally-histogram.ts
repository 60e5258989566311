import { Histogram, type HistogramConfiguration } from "prom-client";

export interface TallyConfiguration extends HistogramConfiguration<string> {
  /** In rising order. */
  readonly buckets: number[];
}

/**
 * A histogram without labels that is told of every token. prom-client finds and checks the place of each value by name,
 * which costs more than all else that the metrics do; here values are counts until somebody asks for the metric.
 */
export class TallyHistogram {
  readonly #bounds: readonly number[];
  /** `[bounds + 1]`, the last for what is above all bounds. */
  readonly #counts: Float64Array;
  #sum = 0;

  /** Registers itself as a histogram of prom-client does. */
  constructor(configuration: TallyConfiguration) {
    this.#bounds = configuration.buckets;
    this.#counts = new Float64Array(configuration.buckets.length + 1);
    new TallyReport(configuration, () => this.#samples(configuration.name));
  }

  /** The same value `count` times. */
  add(value: number, count: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && value > this.#bounds[bucket]!) bucket++;
    this.#counts[bucket]! += count;
    this.#sum += value * count;
  }

  /** Buckets count what is below them too. */
  #samples(name: string): TallySample[] {
    const samples: TallySample[] = [];
    let total = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      total += count;
      const le = this.#bounds[bucket] ?? "+Inf";
      samples.push({ metricName: `${name}_bucket`, labels: { le }, sharedLabels: {}, value: total });
    }
    samples.push({ metricName: `${name}_sum`, labels: {}, sharedLabels: {}, value: this.#sum });
    samples.push({ metricName: `${name}_count`, labels: {}, sharedLabels: {}, value: total });
    return samples;
  }
}

interface TallySample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly sharedLabels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What the registry knows: a histogram whose values lie elsewhere. */
class TallyReport extends Histogram {
  readonly #name: string;
  readonly #help: string;
  readonly #samples: () => TallySample[];

  constructor(configuration: TallyConfiguration, samples: () => TallySample[]) {
    super(configuration);
    this.#name = configuration.name;
    this.#help = configuration.help;
    this.#samples = samples;
  }

  /** The registry's text is made of this, and so is what `get` answers. */
  async getForPromString() {
    return { name: this.#name, help: this.#help, type: "histogram", values: this.#samples(), aggregator: "sum" };
  }
}
