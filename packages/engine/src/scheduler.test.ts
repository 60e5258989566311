import { KvManager } from "@kvant/kvcache";
import { describe, expect, test } from "vitest";
import { type Batch, Scheduler } from "./scheduler.ts";
import { run, sequence } from "./testing/sequences.ts";

const pageTokens = 4;

function setUp({ pages = 100, maxRows = 8, maxStepTokens = 8 } = {}) {
  const kv = new KvManager({ groups: [{ pageCount: pages + 1, pageTokens }] });
  return { kv, scheduler: new Scheduler({ kv, maxRows, maxStepTokens, pageTokens }) };
}

/** Rows as `id@start+count`, with `!` where a token is sampled. */
function show(batch: Batch | undefined): string[] {
  return (batch?.rows ?? []).map(
    ({ sequence, start, tokenCount, samples }) => `${sequence.id}@${start}+${tokenCount}${samples ? "!" : ""}`,
  );
}

function settle(scheduler: Scheduler, batch: Batch, tokenId = 7): void {
  scheduler.settle(
    batch,
    batch.rows.map(() => tokenId),
  );
}

describe("a step", () => {
  test("takes decoding sequences first and fills the budget with prompt chunks", () => {
    const { scheduler } = setUp();
    scheduler.add(sequence({ id: 1, prompt: run(1, 3) }));
    const first = scheduler.next()!;
    expect(show(first)).toEqual(["1@0+3!"]);
    settle(scheduler, first);
    scheduler.add(sequence({ id: 2, prompt: run(100, 20) }));
    const second = scheduler.next()!;
    expect(show(second)).toEqual(["1@3+1!", "2@0+7"]);
    expect(second.kind).toBe("mixed");
    expect(second.tokenCount).toBe(8);
  });

  test("is scheduled before the one in flight has settled, with the sampled token still unknown", () => {
    const { scheduler } = setUp();
    const one = sequence({ id: 1, prompt: [5, 6] });
    scheduler.add(one);
    const first = scheduler.next()!;
    const second = scheduler.next()!;
    expect(show(first)).toEqual(["1@0+2!"]);
    expect(show(second)).toEqual(["1@2+1!"]);
    expect(one.tokenAt(2)).toBeUndefined();
    settle(scheduler, first, 9);
    expect(one.tokenAt(2)).toBe(9);
    expect(one.outputIds).toEqual([9]);
  });

  test("is not scheduled past the last token a sequence may have", () => {
    const { scheduler } = setUp();
    scheduler.add(sequence({ id: 1, prompt: [5], maxTokens: 1 }));
    const first = scheduler.next()!;
    expect(scheduler.next()).toBeUndefined();
    settle(scheduler, first);
    expect(scheduler.next()).toBeUndefined();
  });

  test("admits waiting sequences in order of priority, then arrival", () => {
    const { scheduler } = setUp({ maxRows: 2 });
    scheduler.add(sequence({ id: 1, prompt: [1], priority: 1 }));
    scheduler.add(sequence({ id: 2, prompt: [2] }));
    scheduler.add(sequence({ id: 3, prompt: [3] }));
    expect(show(scheduler.next())).toEqual(["2@0+1!", "3@0+1!"]);
    expect(scheduler.waitingCount).toBe(1);
  });
});

describe("priority", () => {
  test("a waiting prompt of a higher priority is computed before a running one's next chunk", () => {
    const { scheduler } = setUp();
    scheduler.add(sequence({ id: 1, prompt: run(1, 30), priority: 1 }));
    expect(show(scheduler.next())).toEqual(["1@0+8"]);
    scheduler.add(sequence({ id: 2, prompt: run(50, 5), priority: 0 }));
    scheduler.add(sequence({ id: 3, prompt: run(70, 5), priority: 1 }));
    expect(show(scheduler.next())).toEqual(["2@0+5!", "1@8+3"]);
  });
});

describe("leaving", () => {
  test("frees slot and pages only when no step in flight includes the sequence", () => {
    const { kv, scheduler } = setUp();
    const one = sequence({ id: 1, prompt: run(1, 3) });
    scheduler.add(one);
    const first = scheduler.next()!;
    const second = scheduler.next()!;
    scheduler.finish(one);
    expect(kv.stats().pages.used).toBe(1);
    settle(scheduler, first);
    expect(kv.stats().pages.used).toBe(1);
    expect(scheduler.isIdle).toBe(false);
    settle(scheduler, second);
    expect(kv.stats().pages.used).toBe(0);
    expect(one.phase).toBe("gone");
    expect(scheduler.isIdle).toBe(true);
    expect(one.outputIds).toEqual([]);
  });

  test("of a waiting sequence takes it out of the queue", () => {
    const { scheduler } = setUp({ maxRows: 1 });
    const two = sequence({ id: 2, prompt: [2] });
    scheduler.add(sequence({ id: 1, prompt: [1] }));
    scheduler.add(two);
    scheduler.next();
    scheduler.finish(two);
    expect(scheduler.waitingCount).toBe(0);
  });
});

describe("running out of pages", () => {
  test("preempts the youngest, which later is computed again with its tokens so far", () => {
    const { kv, scheduler } = setUp({ pages: 3 });
    const old = sequence({ id: 1, prompt: run(1, 4), maxTokens: 5 });
    const young = sequence({ id: 2, prompt: run(50, 4), maxTokens: 5 });
    scheduler.add(old);
    scheduler.add(young);
    settle(scheduler, scheduler.next()!);
    // Each holds one full page and both need a second one; only one page is left.
    const second = scheduler.next()!;
    expect(show(second)).toEqual(["1@4+1!"]);
    expect(young.phase).toBe("waiting");
    expect(young.outputIds).toEqual([7]);
    expect(scheduler.preemptions).toEqual({ recompute: 1, swap: 0 });
    settle(scheduler, second);
    scheduler.finish(old);
    kv.checkInvariant();
    // Its first page is still in the prefix cache: only the sampled token is left to compute.
    const third = scheduler.next()!;
    expect(show(third)).toEqual(["2@4+1!"]);
    expect(young.needsRowUpdate).toBe(true);
  });

  test("of a victim with a step in flight waits for that step", () => {
    const { kv, scheduler } = setUp({ pages: 3 });
    const old = sequence({ id: 1, prompt: run(1, 4), maxTokens: 5 });
    const young = sequence({ id: 2, prompt: run(50, 4), maxTokens: 5 });
    scheduler.add(old);
    scheduler.add(young);
    const first = scheduler.next()!;
    // `first` is in flight with both: the old one takes the last page, the young one is on its way out.
    const second = scheduler.next()!;
    expect(show(second)).toEqual(["1@4+1!"]);
    expect(young.phase).toBe("leaving");
    settle(scheduler, first);
    expect(young.phase).toBe("waiting");
    expect(young.outputIds).toEqual([7]);
    kv.checkInvariant();
  });
});

describe("forks (n > 1)", () => {
  test("share the parent's prompt pages, compute its last token again and copy the page they write", () => {
    const { kv, scheduler } = setUp({ maxStepTokens: 16 });
    const parent = sequence({ id: 1, prompt: run(1, 6) });
    const child = sequence({ id: 2, prompt: run(1, 6), parent });
    scheduler.add(parent);
    scheduler.add(child);
    expect(show(scheduler.next())).toEqual(["1@0+6!"]);
    expect(show(scheduler.next())).toEqual(["1@6+1!", "2@5+1!"]);
    expect(child.pendingCopies).toEqual([0, 2, 3]);
    kv.checkInvariant();
  });

  test("without a page to copy wait in the queue instead of being preempted in every step", () => {
    const { kv, scheduler } = setUp({ pages: 2 });
    const parent = sequence({ id: 1, prompt: run(1, 6), maxTokens: 3 });
    const child = sequence({ id: 2, prompt: run(1, 6), maxTokens: 3, parent });
    scheduler.add(parent);
    scheduler.add(child);
    const steps = [scheduler.next()!, scheduler.next()!, scheduler.next()!];
    expect(steps.map(show)).toEqual([["1@0+6!"], ["1@6+1!"], ["1@7+1!"]]);
    for (const step of steps) settle(scheduler, step);
    scheduler.finish(parent);
    expect(show(scheduler.next())).toEqual(["2@4+2!"]);
    expect(scheduler.preemptions).toEqual({ recompute: 0, swap: 0 });
    kv.checkInvariant();
  });

  test("wait until earlier steps compute the whole prompt: page copies run before a step's writes", () => {
    const { scheduler } = setUp({ maxStepTokens: 4 });
    const parent = sequence({ id: 1, prompt: run(1, 6) });
    scheduler.add(parent);
    scheduler.add(sequence({ id: 2, prompt: run(1, 6), parent }));
    expect(show(scheduler.next())).toEqual(["1@0+4"]);
    expect(show(scheduler.next())).toEqual(["1@4+2!"]);
    expect(show(scheduler.next())).toEqual(["1@6+1!", "2@5+1!"]);
  });
});
