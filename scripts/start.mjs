// npm start: install, build, serve the built-in model. Arguments go to `kvant serve`.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { environment, prepare, root, say, turbo } from "./workspace.mjs";

prepare();
say("building (only what has changed)");
turbo("build", ["--filter=kvant..."]);
const cli = join(root, "apps", "cli", "bin", "kvant.js");
const server = spawn(process.execPath, [cli, "serve", ...process.argv.slice(2)], {
  cwd: root,
  env: environment,
  stdio: "inherit",
});
// A terminal's Ctrl-C reaches the server by itself; a SIGTERM from a supervisor is passed on, and the server drains.
process.on("SIGTERM", () => server.kill("SIGTERM"));
process.on("SIGINT", () => undefined);
server.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 1));
