import { expect, test } from "vitest";
import { type CommandResult, runCommand } from "./packages/run-command.ts";
import { repository } from "./packages/workspace-packages.ts";
import { environment } from "./workspace.mjs";

// `npm run check` goes through the packages; what belongs to none of them is checked here.
function run(program: string, args: readonly string[]): Promise<CommandResult> {
  return runCommand(program, args, { cwd: repository, environment, timeoutSeconds: 120 });
}

test("the root's scripts type-check", async () => {
  const { status, stdout } = await run("tsc", ["-p", "scripts", "--noEmit"]);
  expect(stdout).toBe("");
  expect(status).toBe(0);
});

test("the root's scripts, documents and settings are formatted and lint-free", async () => {
  const paths = [
    "scripts",
    "docs",
    "README.md",
    "CONTRIBUTING.md",
    "package.json",
    "tsconfig.base.json",
    "vitest.config.ts",
  ];
  const { status, stderr } = await run("biome", ["check", "--colors=off", ...paths]);
  expect(status, stderr).toBe(0);
});
