import { expect, test } from "vitest";
import type { PlannedRequest } from "../load/planned-request.ts";
import type { RequestRecord } from "../load/request-record.ts";
import { LoadClock } from "./load-clock.ts";
import { type Dialogue, LoadDriver, type LoadDriverOptions } from "./load-driver.ts";
import { FakeTransport, type SentRequest } from "./testing/fake-transport.ts";

function request(index: number, more: Partial<PlannedRequest> = {}): PlannedRequest {
  return { index, prompt: { kind: "text", text: `q${index}` }, maxTokens: 1, isFixedLength: false, ...more };
}

function turns(conversation: number, firstIndex: number, thinkSeconds: readonly number[]): Dialogue {
  return thinkSeconds.map((think, number) =>
    request(firstIndex + number, { turn: { conversation, number, thinkSeconds: think } }),
  );
}

function load(onSend: (request: SentRequest, number: number) => void, options: Partial<LoadDriverOptions> = {}) {
  const transport = new FakeTransport(onSend);
  const clock = new LoadClock(process.hrtime.bigint());
  const records: RequestRecord[] = [];
  let settle: () => void;
  const idle = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const driver = new LoadDriver({
    clock,
    transport,
    stopAt: Number.POSITIVE_INFINITY,
    deadlineSeconds: 10,
    onRecord: (record) => records.push(record),
    onIdle: () => settle(),
    ...options,
  });
  return { driver, transport, records, idle, clock };
}

const answerAfter = (milliseconds: number, text = "a") => {
  return ({ answer }: SentRequest): void => {
    setTimeout(() => {
      answer.chunk(text, undefined);
      answer.end();
    }, milliseconds);
  };
};

test("an open loop sends when it is due, whatever has become of those before", async () => {
  let allAreSent = (): void => undefined;
  const allSent = new Promise<void>((resolve) => {
    allAreSent = resolve;
  });
  const { driver, transport, records, idle } = load((_, number) => {
    if (number === 3) allAreSent();
  });
  driver.add([0, 0.01, 0.02, 0.03].map((dueSeconds, i) => [request(i, { dueSeconds })]));
  driver.complete();
  await allSent;
  await new Promise((resolve) => setImmediate(resolve));
  expect(transport.sent).toHaveLength(4);
  expect(driver.inFlight).toBe(4);
  driver.cancel();
  await idle;
  expect(records.map(({ dueAt }) => dueAt)).toEqual([0, 0.01, 0.02, 0.03]);
  for (const { sentAt, dueAt, failure } of records) {
    expect(sentAt).toBeGreaterThanOrEqual(dueAt);
    expect(failure?.kind).toBe("cancelled");
  }
});

test("a closed loop has as many requests in flight as users, until the plan is used up", async () => {
  let most = 0;
  const { driver, records, idle } = load(
    (sent) => {
      most = Math.max(most, driver.inFlight + 1);
      answerAfter(1)(sent);
    },
    { users: 3 },
  );
  driver.add(Array.from({ length: 20 }, (_, i) => [request(i)]));
  driver.complete();
  await idle;
  expect(most).toBe(3);
  expect(records.map(({ index }) => index).sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  expect(records.every(({ failure }) => failure === undefined)).toBe(true);
});

test("a turn follows the answer before it, after a pause, and carries what was said", async () => {
  const { driver, transport, records, idle } = load((sent, number) => answerAfter(2, `a${number}`)(sent), { users: 1 });
  driver.add([turns(0, 0, [0, 0.02, 0])]);
  driver.complete();
  await idle;
  expect(transport.sent.map(({ history }) => history.map(({ content }) => content))).toEqual([
    [],
    ["q0", "a0"],
    ["q0", "a0", "q1", "a1"],
  ]);
  const [first, second, third] = records as [RequestRecord, RequestRecord, RequestRecord];
  expect(second.dueAt).toBeGreaterThanOrEqual(first.endedAt + 0.02);
  expect(third.dueAt).toBeGreaterThanOrEqual(second.endedAt);
});

test("what follows a turn that failed is not sent, and counts as cancelled", async () => {
  const { driver, transport, records, idle } = load(
    ({ answer }) => answer.end({ kind: "connect", message: "refused" }),
    {
      users: 1,
    },
  );
  driver.add([turns(0, 0, [0, 0, 0]), [request(3)]]);
  driver.complete();
  await idle;
  expect(transport.sent.map(({ answer }) => answer.request.index)).toEqual([0, 3]);
  expect(records.map(({ index, failure }) => [index, failure?.kind])).toEqual([
    [0, "connect"],
    [1, "cancelled"],
    [2, "cancelled"],
    [3, "connect"],
  ]);
});

test("at its end nothing more is sent, and what is open may end", async () => {
  const { driver, transport, records, idle } = load(answerAfter(30), { stopAt: 0.02 });
  driver.add([0, 0.015, 60, 90].map((dueSeconds, i) => [request(i, { dueSeconds })]));
  await idle;
  expect(transport.sent).toHaveLength(2);
  expect(records.map(({ failure }) => failure)).toEqual([undefined, undefined]);
});

test("an answer that takes longer than the deadline fails with it", async () => {
  const { driver, records, idle } = load(({ answer }) => answer.chunk("a", undefined), { deadlineSeconds: 0.02 });
  driver.add([[request(0, { dueSeconds: 0 })]]);
  driver.complete();
  await idle;
  expect(records[0]).toMatchObject({ outputTokens: 1, failure: { kind: "deadline" } });
  expect(records[0]!.failure!.message).toContain("0.02 s, after 1 chunks");
});

test("a load without requests is idle at once, and only once", async () => {
  let idleCount = 0;
  const { driver } = load(() => undefined, { onIdle: () => idleCount++ });
  driver.complete();
  driver.stop();
  driver.cancel();
  expect(idleCount).toBe(1);
});
