import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import {
  addon,
  emptyStep,
  loadWeights,
  options,
  plan,
  rowStep,
  rowUpdate,
  submit,
  tinyExecutable,
} from "./tiny-plan.mjs";

const want = { nothing: 0, sample: 1, logits: 2, score: 3 };
const here = fileURLToPath(new URL("./tiny-plan.mjs", import.meta.url));

/** Runs a program against the addon in a process of its own. */
function run(program) {
  const source = `import { addon, tinyExecutable, rowStep, submit } from ${JSON.stringify(here)};\n${program}`;
  return spawnSync(process.execPath, ["--expose-gc", "--input-type=module", "-e", source], {
    encoding: "utf8",
    timeout: 60_000,
  });
}

function greedy(logits) {
  return logits.indexOf(Math.max(...logits));
}

test("the addon tells its tier, and its CUDA device or why there is none", () => {
  const info = addon.info();
  assert.ok(info.tiers.includes(info.tier));
  assert.equal(info.tiers.at(-1), "scalar");
  for (const [tier, reason] of Object.entries(info.refusedTiers)) {
    assert.ok(!info.tiers.includes(tier));
    assert.throws(() => addon.createExecutable(plan, { ...options, tier }), {
      message: new RegExp(`"${tier}".*: ${reason}`),
    });
  }
  if (info.cudaAbsent === undefined) assert.match(addon.cudaDevice("cuda"), /sm_\d+$/);
  else {
    assert.match(info.cudaAbsent, /CUDA|NVIDIA/);
    assert.throws(() => addon.createExecutable(plan, { ...options, device: "cuda" }), {
      code: "BACKEND_UNAVAILABLE",
      message: new RegExp(info.cudaAbsent.replace(/[^\w ]/g, ".")),
    });
    for (const call of [
      () => addon.cudaMemory("cuda"),
      () => addon.probeDeviceRead("cuda", 2 ** 20, 1),
      () => addon.probeDeviceMatmul("cuda", "fp16", 1),
    ]) {
      assert.throws(call, { code: "BACKEND_UNAVAILABLE" });
    }
  }
});

test("a process whose tier KVANT_CPU_TIER names leaves those that have to be asked for", () => {
  const { stdout } = run(`process.env.KVANT_CPU_TIER = "scalar";
    const { tier, tiers, refusedTiers } = addon.info();
    console.log(JSON.stringify({ tier, hasAmx: tiers.includes("amx"), reasons: Object.values(refusedTiers) }));`);
  const reasons = addon.info().tiers.includes("amx") ? ["KVANT_CPU_TIER names scalar"] : [];
  assert.deepEqual(JSON.parse(stdout), { tier: "scalar", hasAmx: false, reasons });
});

test("cuBLASLt is there, or a sentence says why not", () => {
  const absence = addon.cublasltAbsence();
  assert.equal(addon.cublasltAbsence(), absence);
  if (absence !== undefined) assert.match(absence, /cublasLt|cuBLASLt|CUDA/);
});

test("logits do not depend on tier rounding beyond 1e-5, nor at all on threads and chunks", async () => {
  const ids = [1, 5, 2, 7, 0, 3, 3, 6, 4, 1, 2];
  const results = [];
  for (const tier of addon.info().tiers) {
    const whole = tinyExecutable({ tier });
    const chunked = tinyExecutable({ tier, threads: 1 });
    const { logits } = await submit(whole, rowStep(0, 0, ids, want.logits));
    await submit(chunked, rowStep(0, 0, ids.slice(0, 3), want.nothing));
    const rest = await submit(chunked, rowStep(0, 3, ids.slice(3), want.logits));
    assert.deepEqual(rest.logits, logits.subarray(3 * 8));
    const read = new Float32Array(logits.length);
    whole.readBuffer(6, ids.length, read);
    assert.deepEqual(read, logits);
    results.push(logits);
    whole.close();
    chunked.close();
  }
  for (const logits of results) {
    assert.ok(logits.every((value, i) => Math.abs(value - results[0][i]) < 1e-5));
    assert.ok(logits.every(Number.isFinite));
  }
});

test("two steps in flight give the tokens of one at a time", async () => {
  const executable = tinyExecutable();
  const alone = [];
  let step = rowStep(0, 0, [1, 2, 3], want.sample);
  for (let position = 3; position < 12; position++) {
    const { sampledIds } = await submit(executable, step);
    alone.push(sampledIds[0]);
    step = rowStep(0, position, [sampledIds[0]], want.sample);
  }
  const pending = [submit(executable, rowStep(1, 0, [1, 2, 3], want.sample))];
  for (let position = 3; position < 11; position++) {
    pending.push(submit(executable, rowStep(1, position, [-1], want.sample)));
  }
  const answers = await Promise.all(pending);
  assert.deepEqual(
    answers.map(({ sampledIds }) => sampledIds[0]),
    alone,
  );
  executable.close();
});

test("warming up wants every weight and no step in flight, and leaves the executable as it was", async () => {
  const incomplete = addon.createExecutable(plan, options);
  loadWeights(incomplete, 2);
  assert.throws(() => incomplete.warmUp(), { message: /weight 2 has rows that were never loaded/ });
  incomplete.close();

  const executable = tinyExecutable();
  const step = () => rowStep(0, 0, [1, 2, 3], want.logits);
  const { logits } = await submit(executable, step());
  executable.warmUp();
  const running = submit(executable, step());
  assert.throws(() => executable.warmUp(), { message: /warmUp is for between steps; 1 in flight/ });
  assert.deepEqual((await running).logits, logits);
  executable.close();
  assert.throws(() => executable.warmUp(), { message: /closed/ });
});

test("samples, log-probabilities and scores agree with the logits", async () => {
  const executable = tinyExecutable();
  const numbers = Float64Array.of(0, 1, 0, 1, 0, 0, 0, 0, 3);
  const first = rowStep(0, 0, [4, 2], want.sample, { rowUpdates: [rowUpdate(0, { numbers })] });
  const sampled = await submit(executable, first);
  const { logits, topIds } = await submit(executable, rowStep(1, 0, [4, 2], want.logits));
  assert.equal(topIds.length, 0);
  const { scores } = await submit(executable, rowStep(2, 0, [4, 2], want.score, { targets: Int32Array.of(2, 6) }));
  const last = logits.subarray(8);
  const logSum = Math.log(last.reduce((sum, logit) => sum + Math.exp(logit), 0));
  assert.equal(sampled.sampledIds[0], greedy(last));
  assert.ok(Math.abs(sampled.sampledLogprobs[0] - (Math.max(...last) - logSum)) < 1e-5);
  assert.equal(sampled.topIds[0], greedy(last));
  assert.equal(sampled.topIds[3], -1);
  assert.equal(scores.length, 2);
  assert.ok(Math.abs(scores[1] - (last[6] - logSum)) < 1e-5);
  executable.close();
});

test("a copied page continues a sequence as the original does", async () => {
  const executable = tinyExecutable();
  await submit(executable, rowStep(0, 0, [1, 2, 3], want.nothing));
  const original = await submit(executable, rowStep(0, 3, [4], want.logits));
  const fork = {
    ...rowStep(1, 3, [4], want.logits),
    pageAppends: Int32Array.of(1, 0, 0, 7),
    pageCopies: Int32Array.of(0, 1, 7),
    rowUpdates: [rowUpdate(1)],
  };
  assert.deepEqual((await submit(executable, fork)).logits, original.logits);
  assert.deepEqual(executable.readPage(0, 7), executable.readPage(0, 1));
  executable.close();
});

test("a page that was swapped out and comes back elsewhere continues a sequence as the original does", async () => {
  const executable = tinyExecutable();
  await submit(executable, rowStep(0, 0, [1, 2, 3], want.nothing));
  const bytes = executable.readPage(0, 1);
  const original = await submit(executable, rowStep(0, 3, [4], want.logits));
  // Another sequence overwrites the page in the step that takes it out.
  await submit(executable, {
    ...rowStep(1, 0, [5, 6, 7], want.nothing),
    pageAppends: Int32Array.of(1, 0, 0, 1),
    pageSwaps: Int32Array.of(0, 1, 2, 0),
    rowUpdates: [rowUpdate(1)],
  });
  assert.notDeepEqual(executable.readPage(0, 1), bytes);
  const resumed = {
    ...rowStep(0, 3, [4], want.logits),
    pageAppends: Int32Array.of(0, 0, 0, 8),
    pageSwaps: Int32Array.of(0, 8, 2, 1),
    rowUpdates: [rowUpdate(0)],
  };
  assert.deepEqual((await submit(executable, resumed)).logits, original.logits);
  executable.close();
});

test("steps outside the limits are refused with value and limit", async () => {
  const executable = tinyExecutable();
  const refuse = (step, message) => {
    assert.throws(() => executable.submit(step, () => {}), { code: "INVALID_ARGUMENT", message });
  };
  refuse(rowStep(0, 0, [8], want.nothing), /token id is 8, must be -1 to 7/);
  refuse(rowStep(4, 0, [1], want.nothing), /row slot.* is 4, must be 0 to 3/);
  refuse(rowStep(0, 63, [1, 1], want.nothing), /position is 63, must be 0 to 62/);
  refuse(rowStep(0, 0, Array(65).fill(0), want.nothing), /tokenIds.length is 65, must be 0 to 64/);
  refuse(rowStep(0, 0, Array(33).fill(0), want.logits), /logit rows is 33, must be 0 to 32/);
  refuse(rowStep(0, 0, [1], 9), /want is 9/);
  refuse(rowStep(0, 0, [1], want.score), /targets.length is 0/);
  refuse(
    { ...rowStep(0, 0, [1], want.nothing), pageAppends: Int32Array.of(0, 0, 0, 9) },
    /page append is 9, must be 0 to 8/,
  );
  refuse({ ...rowStep(0, 0, [1], want.nothing), pageCopies: Int32Array.of(0, 0, 1) }, /page copy is 0, must be 1 to 8/);
  refuse({ ...emptyStep, pageSwaps: Int32Array.of(0, 0, 0, 0) }, /device page of a page swap is 0, must be 1 to 8/);
  refuse({ ...emptyStep, pageSwaps: Int32Array.of(0, 1, 3, 0) }, /host page of a page swap is 3, must be 0 to 2/);
  refuse({ ...emptyStep, pageSwaps: Int32Array.of(0, 1, 0, 2) }, /direction of a page swap is 2, must be 0 to 1/);
  refuse({ ...emptyStep, pageSwaps: Int32Array.of(0, 1, 0) }, /pageSwaps.length modulo 4 is 3/);
  refuse({ ...emptyStep, rowStarts: new Int32Array(0) }, /rowStarts.length is 0, must be 1/);
  refuse({ ...emptyStep, rowSlots: [0] }, /step.rowSlots must be a Int32Array/);
  refuse({ ...rowStep(0, 0, [1, 2], 0), rowStarts: Int32Array.of(0, -1) }, /last row start is -1, must be 2/);
  const hot = rowUpdate(0, { numbers: Float64Array.of(-1, 1, 0, 1, 0, 0, 0, 0, -1) });
  refuse({ ...emptyStep, rowUpdates: [hot] }, /temperature is -1/);
  const many = rowUpdate(0, { numbers: Float64Array.of(0, 1, 0, 1, 0, 0, 0, 0, 21) });
  refuse({ ...emptyStep, rowUpdates: [many] }, /topLogprobs is 21, must be -1 to 20/);

  const noPage = { ...rowStep(0, 0, [1], want.nothing), pageAppends: new Int32Array(0) };
  await assert.rejects(submit(executable, noPage), /row slot 0 has no page for some position of 0 to 0 in KV group 0/);
  await submit(executable, rowStep(0, 0, [1], want.nothing));
  await assert.rejects(submit(executable, rowStep(0, 1, [-1], want.nothing)), /row slot 0 has sampled no token/);
  await assert.rejects(submit(executable, rowStep(0, 16, [1], want.nothing)), /has no page/);
  await submit(executable, rowStep(0, 1, [1], want.nothing));
  executable.close();
});

test("plans that would leave their memory are refused", () => {
  const refuse = (changes, message, code = "INVALID_ARGUMENT") => {
    assert.throws(() => addon.createExecutable({ ...plan, ...changes }, options), { code, message });
  };
  const withOp = (index, changes) => ({ ops: plan.ops.map((op, i) => (i === index ? { ...op, ...changes } : op)) });
  refuse(withOp(1, { weight: 9 }), /ops\[1\] \(linear\): weight is 9, must be 0 to 3/);
  refuse(withOp(1, { out: 0 }), /ops\[1\] \(linear\): out.width is 16, must be 32/);
  refuse(withOp(2, { rope: 1 }), /rope is 1, must be 0 to 0/);
  refuse(withOp(3, { layer: 1 }), /layer is 1, must be 0 to 0/);
  refuse(withOp(0, { op: "convolve" }), /plan.ops\[0\].op is "convolve"/, "OP_UNSUPPORTED");
  refuse({ logits: 5 }, /logits.width is 16, must be 8/);
  refuse({ vocabSize: 9 }, /table.rows is 8, must be 9/);
  refuse({ kvGroups: [{ ...plan.kvGroups[0], pageBytes: 512 }] }, /pageBytes is 512/);
  refuse({ kvGroups: [{ ...plan.kvGroups[0], vCodes: 256 }] }, /kCodes and vCodes overlap/);
  refuse({ buffers: undefined }, /plan.buffers must be an array/);
  refuse({ weights: plan.weights.map((w) => ({ ...w, format: "int5" })) }, /format is "int5"/);
  assert.throws(() => addon.createExecutable(plan, { ...options, threads: 0 }), { code: "INVALID_ARGUMENT" });
  assert.throws(() => addon.createExecutable(plan, { ...options, tier: "mmx" }), { code: "BACKEND_UNAVAILABLE" });
});

test("weights must arrive whole and once", () => {
  const executable = addon.createExecutable(plan, options);
  assert.throws(() => executable.submit(emptyStep, () => {}), { message: /weight 0 has rows that were never loaded/ });
  const shape = { code: "TENSOR_SHAPE" };
  assert.throws(() => executable.loadWeight(0, 0, 8, "fp32", new Uint8Array(7)), shape);
  assert.throws(() => executable.loadWeight(0, 4, 5, "bf16", new Uint8Array(160)), shape);
  executable.loadWeight(1, 0, 16, "bf16", new Uint8Array(1 + 512).subarray(1));
  assert.throws(() => executable.loadWeight(1, 15, 1, "fp16", new Uint8Array(32)), shape);
  executable.close();
  assert.throws(() => executable.variants(), { message: /closed/ });
});

test("codes must fit the weight, and their products are those of their values", async () => {
  const head = { ...plan.weights[3], format: "int4", groupSize: -1, activation: "fp32" };
  const executable = addon.createExecutable({ ...plan, weights: [...plan.weights.slice(0, 3), head] }, options);
  loadWeights(executable, 3);
  const none = { scaleCodes: new Uint8Array(0), zeros: new Int8Array(0), tensorScale: 0 };
  // Rows of the codes -8 and 7.
  const good = {
    ...none,
    codes: new Uint8Array((head.rows * head.cols) / 2).fill(0x78),
    scales: new Float32Array(head.rows).fill(0.5),
  };
  const refuse = (change, code, message, index = 3) =>
    assert.throws(() => executable.loadCodes(index, 0, head.rows, { ...good, ...change }), { code, message });
  refuse({ codes: good.codes.subarray(1) }, "TENSOR_SHAPE", /bytes of codes are wanted/);
  refuse({ scales: new Float32Array(1) }, "TENSOR_SHAPE", /scales are wanted, not 1/);
  refuse({ zeros: new Int8Array(1) }, "TENSOR_SHAPE", /0 codes of zero are wanted, not 1/);
  refuse({ scaleCodes: new Uint8Array(1) }, "TENSOR_SHAPE", /0 codes of scales are wanted, not 1/);
  refuse({ scales: new Uint8Array(head.rows) }, "INVALID_ARGUMENT", /source.scales must be a Float32Array/);
  refuse({}, "INVALID_ARGUMENT", /held without scales/, 0);
  executable.loadCodes(3, 0, head.rows, good);
  refuse({}, "TENSOR_SHAPE", /arrived twice/);
  const { logits } = await submit(executable, rowStep(0, 0, [1], want.logits));
  const width = head.cols;
  const x = new Float32Array(width);
  executable.readBuffer(5, 1, x);
  assert.throws(() => executable.readBuffer(5, 1, new Float32Array(width + 1)), /the number of values/);
  const expected = x.reduce((sum, value, column) => sum + value * (column % 2 === 0 ? -4 : 3.5), 0);
  for (const logit of logits) assert.ok(Math.abs(logit - expected) < 1e-4, `${logit} for ${expected}`);
  executable.close();
});

test("variants and memory name what runs", () => {
  const executable = tinyExecutable({ tier: "scalar" });
  const variants = executable.variants();
  assert.equal(variants.length, plan.ops.length);
  assert.equal(variants[1], "linear_fp32_fp32_scalar");
  assert.equal(variants[3], "attention_fp32_scalar");
  const memory = executable.memory();
  assert.equal(memory.kv, 9 * 1024);
  assert.equal(memory.weights[2], 64);
  executable.close();
});

test("closing waits for the steps in flight and still answers them", async () => {
  const executable = tinyExecutable();
  const pending = [0, 1, 2].map((slot) => submit(executable, rowStep(slot, 0, [1, 2], want.sample)));
  executable.close();
  const answers = await Promise.all(pending);
  assert.ok(answers.every(({ sampledIds }) => sampledIds[0] >= 0));
  assert.throws(() => executable.submit(emptyStep, () => {}), { message: /closed/ });
});

test("the event loop stays for steps in flight and ends without them", () => {
  const ended = run(`
    const executable = tinyExecutable();
    await submit(executable, rowStep(0, 0, [1], 1));
    executable.submit(rowStep(1, 0, [1, 2, 3], 1), (error, result) => console.log("answered", result.sampledIds.length));
  `);
  assert.equal(ended.status, 0, ended.stderr);
  assert.equal(ended.stdout, "answered 1\n");
});

test("the process may exit with steps in flight", () => {
  for (const end of [
    "process.exit(7)",
    "process.exitCode = 7; process.emitWarning = undefined; process.reallyExit(7)",
  ]) {
    const ended = run(`
      const executable = tinyExecutable();
      for (let i = 0; i < 50; i++) executable.submit(rowStep(0, 0, [1, 2, 3, 4], 2), () => {});
      ${end};
    `);
    assert.equal(ended.status, 7, ended.stderr);
  }
});

test("an executable that nobody holds is collected, one with steps in flight is not", () => {
  const ended = run(`
    let collected = 0;
    const registry = new FinalizationRegistry(() => collected++);
    for (let i = 0; i < 5; i++) registry.register(tinyExecutable(), i);
    let answered = 0;
    tinyExecutable().submit(rowStep(0, 0, [1], 1), () => answered++);
    for (let i = 0; i < 20; i++) { gc(); await new Promise((resolve) => setTimeout(resolve, 5)); }
    console.log(collected, answered);
  `);
  assert.equal(ended.status, 0, ended.stderr);
  assert.equal(ended.stdout, "5 1\n");
});

test("an error thrown by a callback surfaces as an uncaught exception", () => {
  const ended = run(`
    process.on("uncaughtException", (error) => console.log(error.message));
    tinyExecutable().submit(rowStep(0, 0, [1], 1), () => { throw new Error("from the callback"); });
  `);
  assert.equal(ended.status, 0, ended.stderr);
  assert.equal(ended.stdout, "from the callback\n");
});

test("workers have executables of their own and may be terminated in the middle of steps", async () => {
  const source = `
    import { workerData, parentPort } from "node:worker_threads";
    const { tinyExecutable, rowStep, submit } = await import(workerData.url);
    const executable = tinyExecutable();
    const { sampledIds } = await submit(executable, rowStep(0, 0, [1, 2, 3], 1));
    parentPort.postMessage(sampledIds[0]);
    for (;;) await submit(executable, rowStep(0, 0, [1, 2, 3], 1));
  `;
  const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  const executable = tinyExecutable();
  const { sampledIds } = await submit(executable, rowStep(0, 0, [1, 2, 3], want.sample));
  const workerData = { url: new URL("./tiny-plan.mjs", import.meta.url).href };
  const firstIds = [0, 1].map(async () => {
    const worker = new Worker(url, { workerData });
    const first = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
    await worker.terminate();
    return first;
  });
  assert.deepEqual(await Promise.all(firstIds), [sampledIds[0], sampledIds[0]]);
  executable.close();
});

test("the probe answers one rate per repeat and refuses absurd sizes", () => {
  const rates = addon.probeRead(8 << 20, 2, 3);
  assert.equal(rates.length, 3);
  assert.ok(rates.every((rate) => rate > 0));
  assert.throws(() => addon.probeRead(5, 1, 1), { code: "INVALID_ARGUMENT", message: /bytes is 5/ });
});

test("the compute probe answers for every tier and kind, and refuses others", () => {
  for (const tier of addon.info().tiers) {
    for (const kind of ["float32", "int8"]) {
      const rates = addon.probeCompute(kind, tier, 2, 2);
      assert.equal(rates.length, 2);
      assert.ok(rates.every((rate) => rate > 0 && Number.isFinite(rate)));
    }
  }
  assert.throws(() => addon.probeCompute("int3", "", 1, 1), { code: "INVALID_ARGUMENT", message: /float32 and int8/ });
  assert.throws(() => addon.probeCompute("int8", 7, 1, 1), {
    code: "INVALID_ARGUMENT",
    message: /tier must be a string/,
  });
  assert.throws(() => addon.probeCompute("int8", "mmx", 1, 1), /mmx.*is not present/);
});
