import type { RequestTimings } from "@kvant/engine";
import { Counter, Histogram, type Registry } from "prom-client";
import { secondsBuckets } from "./buckets.ts";
import { TallyHistogram } from "./tally-histogram.ts";
import { TurnClock } from "./turn-clock.ts";

/**
 * How a request ended. `completed`: all its completions finished. `cancelled`: the client left. `refused`: the engine would
 * not take it (bad values, full queue, not ready). `failed`: it broke on the way.
 */
export type Outcome = "completed" | "cancelled" | "refused" | "failed";

/** What the server measures of requests as they pass through it. One prompt is one request. */
export class RequestMetrics {
  /** What tokens are timed by. */
  readonly clock = new TurnClock();
  readonly #requests: Counter<"outcome">;
  readonly #completions: Counter<"finish_reason">;
  readonly #queue: Histogram;
  readonly #prefill: Histogram;
  readonly #decode: Histogram;
  readonly #firstToken: Histogram;
  readonly #interToken: TallyHistogram;
  readonly #total: Histogram;
  readonly #responses: Counter<"transport" | "route" | "status">;

  constructor(registry: Registry) {
    const seconds = (name: string, help: string) =>
      new Histogram({ name, help, buckets: secondsBuckets, registers: [registry] });
    this.#requests = new Counter({
      name: "kvant_requests_total",
      help: "Requests by how they ended; a list of prompts counts each prompt.",
      labelNames: ["outcome"],
      registers: [registry],
    });
    for (const outcome of ["completed", "cancelled", "refused", "failed"]) this.#requests.inc({ outcome }, 0);
    this.#completions = new Counter({
      name: "kvant_completions_total",
      help: "Finished completions by reason; n completions of one prompt count n.",
      labelNames: ["finish_reason"],
      registers: [registry],
    });
    for (const finish_reason of ["stop", "length"]) this.#completions.inc({ finish_reason }, 0);
    this.#queue = seconds("kvant_queue_seconds", "Seconds from submission to the first scheduled step.");
    this.#prefill = seconds("kvant_prefill_seconds", "Seconds from the first scheduled step to the first token.");
    this.#decode = seconds("kvant_decode_seconds", "Seconds from the first token to the last.");
    this.#firstToken = seconds(
      "kvant_time_to_first_token_seconds",
      "Seconds from the request's arrival to its first token, as the server sees it.",
    );
    this.#interToken = new TallyHistogram({
      name: "kvant_inter_token_seconds",
      help: "Seconds between two tokens of a completion; tokens that arrive together share the gap.",
      buckets: secondsBuckets,
      registers: [registry],
    });
    this.#total = seconds("kvant_request_seconds", "Seconds from a request's arrival to its end.");
    this.#responses = new Counter({
      name: "kvant_responses_total",
      help: "Answers by transport (http, grpc), route and status.",
      labelNames: ["transport", "route", "status"],
      registers: [registry],
    });
  }

  ended(outcome: Outcome, seconds: number): void {
    this.#requests.inc({ outcome });
    if (outcome !== "refused") this.#total.observe(seconds);
  }

  finished(reason: string): void {
    this.#completions.inc({ finish_reason: reason });
  }

  timed({ queueSeconds, prefillSeconds, decodeSeconds }: RequestTimings): void {
    this.#queue.observe(queueSeconds);
    this.#prefill.observe(prefillSeconds);
    this.#decode.observe(decodeSeconds);
  }

  firstToken(seconds: number): void {
    this.#firstToken.observe(seconds);
  }

  /** `tokens` arrived together after `seconds`: as many gaps, each a share. */
  laterTokens(seconds: number, tokens: number): void {
    this.#interToken.add(seconds / tokens, tokens);
  }

  answered(transport: "http" | "grpc", route: string, status: number): void {
    this.#responses.inc({ transport, route, status });
  }
}
