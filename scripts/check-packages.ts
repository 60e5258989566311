// npm run check:packages [name ...]: every published package, from its tarball, in an empty project.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageFindings, packWorkspace } from "./packages/check-package.ts";

const wanted = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "kvant-packages-"));
let failed = 0;
try {
  const packed = await packWorkspace(folder);
  for (const entry of packed.packages) {
    const { name } = entry.manifest;
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const findings = await packageFindings(packed, entry).catch((error: Error) => [error.message]);
    console.log(`${findings.length === 0 ? "ok    " : "FAILED"} ${name}`);
    for (const finding of findings) console.log(finding.replaceAll(/^/gm, "       "));
    if (findings.length > 0) failed += 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(failed === 0 ? "all packages install and run" : `${failed} packages failed`);
process.exitCode = failed === 0 ? 0 : 1;
