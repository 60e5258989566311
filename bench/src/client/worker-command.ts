/** How to start a process that calls `serveLoadWorker`. */
export interface WorkerCommand {
  readonly entry: string;
  readonly args: readonly string[];
  /** Of Node; this process's own unless given. */
  readonly execArgv?: readonly string[];
}
