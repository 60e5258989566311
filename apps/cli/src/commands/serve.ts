import { fileURLToPath } from "node:url";
import { startEngineProcess } from "@kvant/engine";
import { readKeyFile, startServer } from "@kvant/server";
import { engineOptions, type ModelFlags, type SizeFlags, servingDefaults } from "../model-options.ts";
import { modelLines, say } from "../print.ts";
import { loadingBar } from "../progress.ts";

export interface ServeFlags extends ModelFlags, SizeFlags {
  readonly host: string;
  readonly port: number;
  readonly grpcPort: number;
  readonly grpc: boolean;
  readonly warmUp: boolean;
  readonly streamInterval?: number;
  readonly servedModelName?: string;
  readonly apiKeyFile?: string;
  readonly adminKeyFile?: string;
  readonly metricsAlias?: "vllm";
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
  readonly drainSeconds: number;
}

/** Where the bundle keeps its engine process; undefined when the sources run. */
const bundledEntry = import.meta.url.endsWith(".ts")
  ? undefined
  : fileURLToPath(new URL("./engine-process.js", import.meta.url));

/** Serves a model over HTTP and gRPC until SIGTERM or SIGINT, which let running requests finish. */
export async function serve(model: string | undefined, flags: ServeFlags): Promise<void> {
  // Keys are read before the model: a wrong path should not cost a load.
  const apiKeys = flags.apiKeyFile === undefined ? undefined : readKeyFile(flags.apiKeyFile);
  const adminKeys = flags.adminKeyFile === undefined ? undefined : readKeyFile(flags.adminKeyFile);
  const { warmUp, servedModelName, streamInterval } = flags;
  const options = {
    ...engineOptions(model, { ...servingDefaults(model, flags), ...flags }),
    warmUp,
    ...(servedModelName === undefined ? {} : { servedModelName }),
    ...(streamInterval === undefined ? {} : { streamInterval }),
  };
  say(
    `kvant: loading ${options.servedModelName ?? options.model} (weights ${options.weights}, KV ${options.kvFormat})`,
  );
  const bar = loadingBar();
  const engine = await startEngineProcess(options, {
    onProgress: bar.onProgress,
    onFault: (error) => say(`kvant: ${error.message}; restarting the engine`),
    ...(bundledEntry === undefined ? {} : { entry: bundledEntry }),
  }).finally(bar.stop);
  say(modelLines(engine.model));
  const server = await startServer(engine, {
    host: flags.host,
    port: flags.port,
    ...(flags.grpc ? { grpcPort: flags.grpcPort } : {}),
    ...(apiKeys === undefined ? {} : { apiKeys }),
    ...(adminKeys === undefined ? {} : { adminKeys }),
    ...(flags.metricsAlias === undefined ? {} : { metricsAlias: flags.metricsAlias }),
    logger: { level: flags.logLevel },
  }).catch(async (error) => {
    await engine.close();
    throw error;
  });
  say(
    `kvant: ready at ${server.httpAddress}${server.grpcAddress === undefined ? "" : `, gRPC at ${server.grpcAddress}`}`,
  );

  const signal = await new Promise<string>((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
  say(`kvant: ${signal}: finishing running requests (at most ${flags.drainSeconds} s)`);
  // A second signal does not wait.
  process.once("SIGINT", () => process.exit(130));
  process.once("SIGTERM", () => process.exit(143));
  const { running, ended } = await server.drain(flags.drainSeconds * 1000);
  await engine.close();
  say(`kvant: drained; ${running} requests were running, ${ended} of them were cut off`);
}
