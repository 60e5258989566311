import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import { repository } from "../packages/workspace-packages.ts";

const folder = mkdtempSync(join(tmpdir(), "kvant gpu suites "));
afterAll(() => rmSync(folder, { recursive: true }));

interface Result {
  readonly exitCode: number;
  readonly output: string;
}

function run(command: string, args: readonly string[], environment: Record<string, string> = {}): Promise<Result> {
  return new Promise((resolve) => {
    execFile(command, args, { env: { ...process.env, ...environment } }, (error, stdout, stderr) => {
      resolve({ exitCode: error === null ? 0 : Number(error.code ?? 1), output: `${stdout}${stderr}` });
    });
  });
}

function runSource([script, ...args]: readonly [string, ...string[]], environment = {}): Promise<Result> {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const options = ["--conditions=@kvant/source", "--import", tsx];
  return run(process.execPath, [...options, join(repository, "scripts/gpu", script), ...args], environment);
}

test("the suite of conformance checks runs on any device", async () => {
  const { exitCode, output } = await runSource([
    "test-gpu.ts",
    ...["--device", "cpu", "--mode", "default", "--only", "golden"],
  ]);
  expect(output, output).toContain("10 passed, 0 failed");
  expect(exitCode).toBe(0);
});

test("shares of the checks run side by side, each under a wrapper, and add up", async () => {
  const args = ["--device", "cpu", "--mode", "default", "--only", "golden", "--processes", "3"];
  const { exitCode, output } = await runSource(["test-gpu.ts", ...args], { KVANT_GPU_WRAPPER: "env" });
  expect(output, output).toContain("default: golden models: 10 passed, 0 failed");
  expect(output.match(/^\d\/3: \d+ passed, 0 failed in/gm)?.length, output).toBe(3);
  expect(exitCode).toBe(0);
});

test("shares that get no check end well where another gets one, and not where none does", async () => {
  const runOnly = (only: string) =>
    runSource(["test-gpu.ts", "--device", "cpu", "--mode", "default", "--only", only, "--processes", "2"]);
  const one = await runOnly("golden models: llama in fp32");
  expect(one.output, one.output).toMatch(/^1 passed, 0 failed in/m);
  expect(one.exitCode).toBe(0);
  const none = await runOnly("of no such name");
  expect(none.output, none.output).toMatch(/^0 passed, 0 failed in/m);
  expect(none.exitCode).toBe(1);
});

test("checks that are left out for want of time fail the run", async () => {
  const args = ["--device", "cpu", "--mode", "default", "--only", "golden", "--seconds", "1e-9"];
  const { exitCode, output } = await runSource(["test-gpu.ts", ...args]);
  expect(output).toContain("LEFT OUT 10 checks after 1e-9 s");
  expect(exitCode).toBe(1);
});

test("the suite of quantization checks runs on any device", async () => {
  const { exitCode, output } = await runSource(["test-quantize.ts", "--device", "cpu", "--only", "statistics"]);
  expect(output, output).toContain("2 passed, 0 failed");
  expect(exitCode).toBe(0);
});

test("a killed engine is survived on the CPU, and faults of a GPU are skipped aloud", async () => {
  const { exitCode, output } = await runSource(["test-faults.ts", "--device", "cpu"]);
  expect(output, output).toContain("all faults are survived");
  expect(output.match(/^SKIPPED .*: the device is not cuda$/gm)?.length).toBe(5);
  expect(output).not.toContain("FAILED");
  expect(exitCode).toBe(0);
});

test("a packed folder stands alone", async () => {
  const [packed, temporary] = [join(folder, "packed"), join(folder, "tmp")];
  mkdirSync(packed);
  mkdirSync(temporary);
  // Node is there already, so that it is neither packed nor unpacked.
  writeFileSync(join(packed, "node.xz"), "");
  symlinkSync(process.execPath, join(temporary, "kvant-node"));
  const pack = await run(join(repository, "scripts/gpu-host.sh"), ["pack", packed], {
    KVANT_PACK_TINY: "0",
    KVANT_PACK_PTX: join(folder, "absent.node"),
  });
  expect(pack, pack.output).toMatchObject({ exitCode: 0 });

  const suite = (...args: string[]) =>
    run(join(packed, "gpu-host.sh"), args, { TMPDIR: temporary, KVANT_NATIVE: "", KVANT_GPU_WRAPPER: "" });
  const doctor = await suite("kvant", "doctor");
  expect(doctor.output).toMatch(/reference +present/);
  expect(doctor.output).toMatch(/cpu scalar +present/);
  const streams = ["--streams", "2", "--prompt-tokens", "8", "--output-tokens", "4"];
  const served = await suite(
    "bench:serve",
    "--device",
    "cpu",
    "--shape",
    "qwen2.5-0.5b",
    ...streams,
    "--",
    "--kv-pages",
    "64",
  );
  expect(
    JSON.parse(served.output.split("\n").find((line) => line.startsWith("{")) ?? "{}"),
    served.output,
  ).toMatchObject({
    model: "qwen2.5-0.5b",
    failures: 0,
  });
  const ptx = await suite("test:ptx");
  expect(ptx).toMatchObject({ exitCode: 2, output: expect.stringContaining("packed without the addon of build:ptx") });
  const native = await suite("test:native", "of-no-such-name");
  expect(native).toMatchObject({
    exitCode: 2,
    output: expect.stringContaining('no native test with "of-no-such-name"'),
  });
  const script = (name: string, line: string, exitCode: number) => {
    const path = join(packed, "native", `cuda_${name}_test`);
    writeFileSync(path, `#!/bin/sh\necho ${line}\nexit ${exitCode}\n`, { mode: 0o755 });
  };
  script("scripted_good", "ok", 0);
  script("scripted_bad", "3 checks failed", 9);
  script("scripted_idle", "SKIPPED: no CUDA device", 0);
  expect(await suite("test:native", "scripted_good")).toMatchObject({
    exitCode: 0,
    output: "ok\n1 passed, 0 failed\n",
  });
  const scripted = await suite("test:native", "scripted");
  expect(scripted.output).toBe("3 checks failed\nok\nSKIPPED: no CUDA device\n1 passed, 2 failed\n");
  expect(scripted.exitCode).toBe(1);
  const nothing = await suite("bench:nothing");
  expect(nothing).toMatchObject({ exitCode: 2, output: expect.stringContaining("there is no suite bench:nothing") });
});
