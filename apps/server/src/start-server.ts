import type { Engine } from "@kvant/engine";
import { GenerationGate } from "./generation-gate.ts";
import type { RunningGrpcServer } from "./grpc/grpc-server.ts";
import { createHttpApp } from "./http/http-app.ts";
import { closeHttp, httpUrl } from "./http/listening.ts";
import type { HttpApp } from "./http/route-registration.ts";
import { KeyRing } from "./key-ring.ts";
import { createLogger } from "./logger.ts";
import { ServerMetrics } from "./metrics/server-metrics.ts";
import { ServedModel } from "./served-model.ts";
import type { ServerContext } from "./server-context.ts";
import type { ServerOptions } from "./server-options.ts";
import { version as packageVersion } from "./version.ts";

export interface RunningServer {
  /** `http://HOST:PORT` */
  readonly httpAddress: string;
  /** `HOST:PORT`, or undefined where gRPC is not served. */
  readonly grpcAddress: string | undefined;
  /**
   * Refuses new requests with 503, lets the running ones finish for `limitMilliseconds` (default 30 000), ends what is left
   * with SHUTTING_DOWN, and closes. /health and /ready answer until then. The engine stays as it is: it belongs to the caller.
   */
  drain(limitMilliseconds?: number): Promise<DrainReport>;
  /** `drain(0)`: closes at once. */
  close(): Promise<void>;
}

export interface DrainReport {
  /** Requests that were running when the drain began. */
  readonly running: number;
  /** Of these, the ones that had to be ended. */
  readonly ended: number;
}

/**
 * Serves an engine over HTTP and, where a port is given, gRPC. Resolves when both listen; the engine may still be starting,
 * and /ready says so. Throws what listening throws, such as EADDRINUSE.
 */
export async function startServer(engine: Engine, options: ServerOptions = {}): Promise<RunningServer> {
  const host = options.host ?? "127.0.0.1";
  const version = options.version ?? packageVersion;
  const model = new ServedModel(engine, options.servedModelName);
  const metrics = new ServerMetrics(engine, { version, alias: options.metricsAlias, modelName: () => model.name });
  const context: ServerContext = {
    engine,
    model,
    metrics,
    gate: new GenerationGate(engine, metrics.requests),
    keys: new KeyRing(options.apiKeys, options.adminKeys),
    logger: createLogger(options),
    version,
    keepAliveMilliseconds: options.keepAliveMilliseconds ?? 5000,
  };
  const { app, grpc } = await listen(context, { ...options, host }).catch((error: unknown) => {
    metrics.stop();
    throw error;
  });

  const hurry = new AbortController();
  const drain = async (): Promise<DrainReport> => {
    const running = context.gate.insideCount;
    const emptied = context.gate.empty(hurry.signal);
    grpc?.refreshHealth();
    const ended = await emptied;
    await Promise.all([closeHttp(app), grpc?.close()]);
    metrics.stop();
    context.logger.flush();
    return { running, ended };
  };
  let draining: Promise<DrainReport> | undefined;
  const drainWithin = async (limitMilliseconds: number) => {
    const timer = setTimeout(() => hurry.abort(), limitMilliseconds);
    draining ??= drain();
    return draining.finally(() => clearTimeout(timer));
  };
  return {
    httpAddress: httpUrl(app),
    grpcAddress: grpc?.address,
    drain: (limitMilliseconds = 30_000) => drainWithin(limitMilliseconds),
    close: async () => {
      hurry.abort();
      await drainWithin(0);
    },
  };
}

async function listen(
  context: ServerContext,
  { host, port = 0, grpcPort, protoRoot }: ServerOptions & { readonly host: string },
): Promise<{ app: HttpApp; grpc: RunningGrpcServer | undefined }> {
  const app = await createHttpApp(context);
  await app.listen({ host, port });
  if (grpcPort === undefined) return { app, grpc: undefined };
  try {
    // gRPC's modules take as long to load as all others together; who does not serve it does not wait for them.
    const { startGrpcServer } = await import("./grpc/grpc-server.ts");
    return { app, grpc: await startGrpcServer(context, { host, port: grpcPort, protoRoot }) };
  } catch (error) {
    await app.close();
    throw error;
  }
}
