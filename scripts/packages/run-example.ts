import { writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { transform } from "esbuild";
import { isShownOutput, type ReadmeExample } from "./readme-examples.ts";
import { type CommandResult, runCommand } from "./run-command.ts";
import { repository } from "./workspace-packages.ts";

const compilerOptions = {
  target: "ES2023",
  lib: ["ES2023", "ESNext.Disposable"],
  module: "nodenext",
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  noEmit: true,
  types: ["node"],
};

/**
 * Type-checks an example against the installed declarations, runs it as plain JavaScript, and compares what it prints.
 * @param folder the project in which the packages are installed
 * @returns what is wrong, empty when nothing
 */
export async function exampleFindings(folder: string, example: ReadmeExample): Promise<readonly string[]> {
  const where = `README example at line ${example.line}`;
  if (example.language === "ts") {
    const findings = await typeFindings(folder, example);
    if (findings.length > 0) return findings.map((finding) => `${where} does not type-check\n${finding}`);
  }
  const { status, stdout, stderr } = await run(folder, example);
  if (status !== 0) return [`${where} ended with ${status}\n${stdout}${stderr}`];
  if (example.output === undefined || isShownOutput(example.output, stdout)) return [];
  return [`${where} prints\n${stdout}\nand the README shows\n${example.output}`];
}

async function typeFindings(folder: string, { line, code }: ReadmeExample): Promise<readonly string[]> {
  const file = `example-${line}.ts`;
  const config = `tsconfig-${line}.json`;
  writeFileSync(join(folder, file), code);
  writeFileSync(join(folder, config), JSON.stringify({ compilerOptions, files: [file] }));
  const { status, stdout } = await runCommand("tsc", ["-p", config], at(folder));
  return status === 0 ? [] : [stdout];
}

async function run(folder: string, { language, line, code }: ReadmeExample): Promise<CommandResult> {
  if (language === "sh") return runCommand("sh", ["-e", "-c", code], at(folder));
  const file = `example-${line}.js`;
  writeFileSync(join(folder, file), (await transform(code, { loader: "ts", format: "esm", target: "node20" })).code);
  return runCommand(process.execPath, [file], at(folder));
}

/** The reader's surroundings: no condition, no addon of the clone, nothing that vitest or turbo has set. */
function at(cwd: string): { cwd: string; environment: NodeJS.ProcessEnv; timeoutSeconds: number } {
  const { HOME, LANG, TMPDIR } = process.env;
  const path = [join(cwd, "node_modules", ".bin"), join(repository, "node_modules", ".bin"), process.env.PATH];
  const environment = { HOME, LANG, TMPDIR, PATH: path.join(delimiter) };
  return { cwd, environment, timeoutSeconds: 120 };
}
