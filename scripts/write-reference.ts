// npm run docs:reference: writes docs/reference.md from the tables in the code.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./packages/workspace-packages.ts";
import { referencePage } from "./reference-tables.ts";

writeFileSync(join(repository, "docs", "reference.md"), await referencePage());
