export { readKeyFile } from "./key-file.ts";
export type { LogLevel, ServerOptions } from "./server-options.ts";
export { type DrainReport, type RunningServer, startServer } from "./start-server.ts";
