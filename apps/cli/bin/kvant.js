#!/usr/bin/env node
import { existsSync } from "node:fs";

const bundle = new URL("../dist/kvant.js", import.meta.url);
if (!existsSync(bundle)) {
  process.stderr.write("kvant: not built yet; run `npm start` or `npm run build` in the repository root first\n");
  process.exit(1);
}
await import(bundle.href);
