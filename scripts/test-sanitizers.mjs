// npm run test:sanitizers [-- address undefined thread]: the native tests under each sanitizer, in build trees of their own
// (a fresh one takes minutes to compile). The C++ tests run every instruction tier that this machine has. Under
// AddressSanitizer the addon itself then runs inside Node, once per tier, forced through KVANT_CPU_TIER.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { environment, must, prepare, root, say } from "./workspace.mjs";

const kinds = ["address", "undefined", "thread"];
const wanted = process.argv.length > 2 ? process.argv.slice(2) : kinds;
const unknown = wanted.find((kind) => !kinds.includes(kind));
if (unknown !== undefined) {
  say(`no sanitizer is called "${unknown}"; there are ${kinds.join(", ")}`);
  process.exit(1);
}

prepare();
// The plain addon, which says what tiers there are.
must("node", ["native/build.mjs"], "building the addon");

const results = [];

function record(what, command, args, env = {}) {
  say(`${what} ...`);
  const { status } = spawnSync(command, args, {
    cwd: root,
    env: { ...environment, ...env },
    stdio: ["ignore", 2, 2],
  });
  results.push({ what, passed: status === 0 });
}

for (const kind of wanted) {
  record(`C++ tests, ${kind} sanitizer`, "node", ["native/build.mjs", `--sanitize=${kind}`]);
}
if (wanted.includes("address")) testAddon();

for (const { what, passed } of results) console.log(`${passed ? "passed" : "FAILED"}  ${what}`);
const failed = results.filter(({ passed }) => !passed).length;
console.log(`sanitizers: ${results.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 && results.length > 0 ? 0 : 1);

/** Node is not built with the sanitizer, so its runtime is loaded before everything else. */
function testAddon() {
  const addon = join(
    `${resolve(process.env.KVANT_NATIVE_BUILD_DIR ?? join(root, "native", "build"))}-address`,
    "kvant.node",
  );
  const runtime = addressRuntime();
  if (runtime === undefined || !existsSync(addon)) {
    console.log(
      "SKIPPED  the addon inside Node, address sanitizer: no libasan.so beside the compiler, or no addon built with it",
    );
    return;
  }
  const plain = join(root, "native", "dist", "kvant.node");
  const listed = spawnSync(process.execPath, ["-p", `require(${JSON.stringify(plain)}).info().tiers.join(" ")`], {
    encoding: "utf8",
  });
  for (const tier of listed.stdout.trim().split(" ").filter(Boolean)) {
    record(
      `the addon inside Node on ${tier}, address sanitizer`,
      "node",
      [...["--conditions=@kvant/source", "--import", "tsx"], "scripts/sanitizers/run-addon.ts"],
      {
        KVANT_NATIVE: addon,
        KVANT_CPU_TIER: tier,
        LD_PRELOAD: runtime,
        // Node itself frees little at its end.
        ASAN_OPTIONS: "detect_leaks=0",
      },
    );
  }
  if (listed.status !== 0) results.push({ what: `asking the addon for its tiers: ${listed.stderr}`, passed: false });
}

function addressRuntime() {
  const compiler = process.env.CXX ?? "c++";
  const { stdout } = spawnSync(compiler, ["-print-file-name=libasan.so"], { encoding: "utf8", env: environment });
  const path = stdout?.trim();
  return path?.includes("/") && existsSync(path) ? path : undefined;
}
