import { destination, type Logger, pino } from "pino";
import type { ServerOptions } from "./server-options.ts";

/** JSON lines, by default on standard error: standard output belongs to the program that embeds the server. */
export function createLogger({ logger }: Pick<ServerOptions, "logger">): Logger {
  const options = { level: logger?.level ?? "info", base: null };
  // Not synchronous: a terminal or a pipe that is slow to read must not hold up the event loop.
  return pino(options, logger?.destination ?? destination({ dest: 2, sync: false }));
}
