// npm test: install, build, check, test. Arguments go to vitest, e.g. `npm test -- --project unit`.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { environment, prepare, root, say, turbo } from "./workspace.mjs";

prepare();
say("building (only what has changed)");
turbo("build");
say("checking types and style");
turbo("check");

const folder = mkdtempSync(join(tmpdir(), "kvant-test-"));
const report = join(folder, "report.json");
const args = ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`, ...process.argv.slice(2)];
const { status } = spawnSync("vitest", args, { cwd: root, env: environment, stdio: "inherit" });
let results;
try {
  results = JSON.parse(readFileSync(report, "utf8"));
} catch (error) {
  say(`vitest left no report: ${error.message}`);
  process.exit(1);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
// A file that fails outside a test (an import that throws) counts as one failure.
const brokenFiles = results.testResults.filter(
  ({ status: outcome, assertionResults }) =>
    outcome === "failed" && assertionResults.every((test) => test.status !== "failed"),
).length;
const failed = results.numFailedTests + brokenFiles;
const skipped = results.numPendingTests + results.numTodoTests;
console.log(`${results.numPassedTests} passed, ${failed} failed, ${skipped} skipped`);
process.exit(status === 0 && failed === 0 && results.numPassedTests > 0 ? 0 : 1);
