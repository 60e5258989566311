import { KvManager } from "@kvant/kvcache";
import { describe, expect, test } from "vitest";
import { type Batch, Scheduler } from "./scheduler.ts";
import { StepPacker } from "./step-packer.ts";
import { run, sequence } from "./testing/sequences.ts";

const pageTokens = 4;

function setUp({ pages = 100, hostPages = 0, maxRows = 8, maxStepTokens = 8 } = {}) {
  const kv = new KvManager({ groups: [{ pageCount: pages + 1, hostPageCount: hostPages, pageTokens }] });
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
    () => undefined,
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
    expect([...one.outputIds]).toEqual([9]);
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
    expect([...one.outputIds]).toEqual([]);
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
    expect([...young.outputIds]).toEqual([7]);
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
    expect([...young.outputIds]).toEqual([7]);
    kv.checkInvariant();
  });
});

describe("running out of pages with host memory to spare", () => {
  /** `1` and `2` with 8 computed tokens each fill the pool of 4 pages; both have sampled twice. */
  function full(hostPages: number) {
    const made = setUp({ pages: 4, hostPages, maxStepTokens: 16 });
    const old = sequence({ id: 1, prompt: run(1, 7), maxTokens: 5 });
    const young = sequence({ id: 2, prompt: run(50, 7), maxTokens: 5 });
    made.scheduler.add(old);
    made.scheduler.add(young);
    settle(made.scheduler, made.scheduler.next()!);
    settle(made.scheduler, made.scheduler.next()!);
    return { ...made, old, young };
  }

  test("the victim's pages go out with the step that writes to them, and come in with the one that reads them", () => {
    const { kv, scheduler, old, young } = full(3);
    const first = scheduler.next()!;
    expect(show(first)).toEqual(["1@8+1!"]);
    // The old one writes page 4, which goes out before.
    expect(first.pageSwaps).toEqual([0, 3, 0, 0, 0, 4, 1, 0]);
    expect(old.pendingAppends.slice(-3)).toEqual([0, 2, 4]);
    expect(young).toMatchObject({
      phase: "waiting",
      isSwapped: true,
      settledTokens: 8,
      outputIds: Int32Array.of(7, 7),
    });
    expect(kv.stats()).toMatchObject({ hostPages: { free: 1, used: 2 }, pages: { used: 3 } });
    expect(scheduler.preemptions).toEqual({ recompute: 0, swap: 1 });

    const second = scheduler.next()!;
    expect(second.pageSwaps).toEqual([]);
    settle(scheduler, first);
    settle(scheduler, second);
    scheduler.finish(old);
    const third = scheduler.next()!;
    expect(show(third)).toEqual(["2@8+1!"]);
    // Its first page was never taken by others and is shared as it is.
    expect(third.pageSwaps).toEqual([0, 4, 1, 1]);
    expect(young.pendingAppends).toEqual([0, 0, 3, 0, 1, 4, 0, 2, 2]);
    expect(young).toMatchObject({ needsRowUpdate: true, isSwapped: false });
    expect(kv.stats().hostPages).toMatchObject({ used: 0 });
    kv.checkInvariant();
  });

  test("a victim that does not fit into host memory is computed again", () => {
    const { kv, scheduler, young } = full(1);
    expect(scheduler.next()!.pageSwaps).toEqual([]);
    expect(young).toMatchObject({ phase: "waiting", isSwapped: false, settledTokens: 0 });
    expect(scheduler.preemptions).toEqual({ recompute: 1, swap: 0 });
    kv.checkInvariant();
  });

  test("a victim with a step in flight goes out when that step has settled, with its token", () => {
    const { kv, scheduler } = setUp({ pages: 3, hostPages: 4 });
    const young = sequence({ id: 2, prompt: run(50, 4), maxTokens: 5 });
    scheduler.add(sequence({ id: 1, prompt: run(1, 4), maxTokens: 5 }));
    scheduler.add(young);
    const first = scheduler.next()!;
    const second = scheduler.next()!;
    expect(young.phase).toBe("leaving");
    expect(kv.stats().hostPages.used).toBe(0);
    settle(scheduler, first);
    expect(young).toMatchObject({ phase: "waiting", isSwapped: true, settledTokens: 4, outputIds: Int32Array.of(7) });
    expect(second.pageSwaps).toEqual([]);
    const third = scheduler.next()!;
    expect(show(third)).toEqual(["1@5+1!"]);
    expect(third.pageSwaps).toEqual([0, 2, 0, 0]);
    kv.checkInvariant();
  });

  test("one that is cancelled while it is swapped out frees its host pages", () => {
    const { kv, scheduler, young } = full(3);
    scheduler.next();
    scheduler.finish(young);
    expect(young.phase).toBe("gone");
    expect(kv.stats()).toMatchObject({ hostPages: { used: 0 }, swappedCount: 0 });
    kv.checkInvariant();
  });

  test("a failed backend leaves no host page used and no swap behind", () => {
    const { kv, scheduler } = full(3);
    scheduler.next();
    scheduler.abandon();
    expect(kv.stats()).toMatchObject({ hostPages: { used: 0 }, pages: { used: 0 } });
    scheduler.add(sequence({ id: 3, prompt: [1] }));
    expect(scheduler.next()!.pageSwaps).toEqual([]);
  });

  test("none comes in with a step that copies a page: swaps run first and could take the page that is read", () => {
    const { kv, scheduler } = setUp({ pages: 4, hostPages: 4, maxStepTokens: 16 });
    const old = sequence({ id: 1, prompt: run(1, 7), maxTokens: 3 });
    const swapped = sequence({ id: 2, prompt: run(50, 3), maxTokens: 5 });
    scheduler.add(old);
    scheduler.add(swapped);
    for (let i = 0; i < 3; i++) settle(scheduler, scheduler.next()!);
    expect(swapped.isSwapped).toBe(true);
    const parent = sequence({ id: 3, prompt: run(100, 2), priority: -1 });
    scheduler.add(parent);
    scheduler.add(sequence({ id: 4, prompt: run(100, 2), priority: -1, parent }));
    expect(show(scheduler.next())).toEqual(["3@0+2!"]);
    scheduler.finish(old); // now there is room for two pages more than the fork takes, as many as the swapped one needs
    const forking = scheduler.next()!;
    expect(show(forking)).toEqual(["3@2+1!", "4@1+1!"]);
    expect(new StepPacker().pack(forking)).toMatchObject({
      pageCopies: Int32Array.of(0, 3, 4),
      pageSwaps: new Int32Array(),
    });
    const next = scheduler.next()!;
    expect(show(next)).toEqual(["3@3+1!", "4@2+1!", "2@4+1!"]);
    expect(new StepPacker().pack(next).pageSwaps).toEqual(Int32Array.of(0, 2, 0, 1));
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
