import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** The command that runs one share: `compute-sanitizer --tool memcheck node test-gpu.mjs --share 3/12`, say. */
export type ShareCommand = (share: string) => readonly string[];

/**
 * Runs the shares of a suite side by side and prints what one process would: failures as they come, then sums per group. Lines
 * of a program that the shares run under carry the share. Returns the exit code, 0 only when every share ended with 0.
 */
export async function shareOut(processes: number, commandOf: ShareCommand): Promise<number> {
  const counts = new Map<string, [passed: number, failed: number]>();
  const said = new Set<string>();
  const started = performance.now();
  const onLine = (share: string, line: string): void => {
    const match = /^(.*): (\d+) passed, (\d+) failed$/.exec(line);
    if (match !== null) {
      const sum = counts.get(match[1]!) ?? [0, 0];
      counts.set(match[1]!, [sum[0] + Number(match[2]), sum[1] + Number(match[3])]);
    } else if (/^(device|SKIPPED) /.test(line)) {
      if (!said.has(line)) console.log(line);
      said.add(line);
    } else if (line.startsWith("FAILED ")) {
      console.log(line);
    } else if (line.trim() !== "") {
      console.log(`${share}: ${line}`);
    }
  };
  const runShare = (share: string) =>
    new Promise<boolean>((resolve, reject) => {
      const [program, ...args] = commandOf(share);
      const child = spawn(program!, args, { stdio: ["ignore", "pipe", "pipe"] });
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream }).on("line", (line) => onLine(share, line));
      }
      child.once("error", reject);
      child.once("close", (code, signal) => {
        if (code !== 0) console.log(`FAILED share ${share}: ended with ${code ?? signal}`);
        resolve(code === 0);
      });
    });
  const ends = await Promise.all(
    Array.from({ length: processes }, (_, index) => runShare(`${index + 1}/${processes}`)),
  );
  let [passed, failed] = [0, 0];
  for (const [group, sum] of [...counts].sort()) {
    console.log(`${group}: ${sum[0]} passed, ${sum[1]} failed`);
    passed += sum[0];
    failed += sum[1];
  }
  const bad = ends.filter((isGood) => !isGood).length;
  if (bad > 0) console.log(`${bad} of ${processes} shares did not end well`);
  console.log(`${passed} passed, ${failed} failed in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  return bad === 0 && passed > 0 ? 0 : 1;
}
