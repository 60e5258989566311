/** What a shell reports for a program that SIGPIPE ended. */
const brokenPipeExitCode = 128 + 13;

/**
 * Ends the program when the reader of its output has gone (`kvant generate | head`), as other tools do: quietly and with
 * the shell's exit code for it. Node ignores SIGPIPE, so it arrives as an error of the stream.
 */
export function endWithReader(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit(brokenPipeExitCode);
      throw error;
    });
  }
}
