import { Server, ServerCredentials } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { KvantError, limit } from "@kvant/core";
import { HealthImplementation } from "grpc-health-check";
import { isReady, type ServerContext } from "../server-context.ts";
import { callInterceptor } from "./call-interceptor.ts";
import { generationService } from "./generation-service.ts";
import { inferenceService } from "./inference-service.ts";
import { loadProtos, serviceOf } from "./proto-files.ts";

const generationServiceName = "kvant.v1.GenerationService";
const inferenceServiceName = "inference.GRPCInferenceService";
// The empty name is the server as a whole (gRPC health checking protocol).
const healthNames = ["", generationServiceName, inferenceServiceName] as const;

/** Time for last messages to reach readers before their connections are cut. */
const closeGraceMilliseconds = 500;

export interface GrpcListenOptions {
  readonly host: string;
  readonly port: number;
  readonly protoRoot: string | undefined;
}

export interface RunningGrpcServer {
  /** `HOST:PORT` */
  readonly address: string;
  /** Tells health checkers whether requests would be taken now. */
  refreshHealth(): void;
  close(): Promise<void>;
}

/** Serves generation, health, reflection and the Open Inference Protocol's probes. Throws LISTEN_FAILED when the port cannot be had. */
export async function startGrpcServer(
  context: ServerContext,
  { host, port, protoRoot }: GrpcListenOptions,
): Promise<RunningGrpcServer> {
  const protos = await loadProtos(protoRoot);
  const server = new Server({
    interceptors: [callInterceptor(context)],
    "grpc.max_receive_message_length": limit("bodyBytes"),
    "grpc.max_metadata_size": limit("headerBytes"),
  });
  server.addService(serviceOf(protos, generationServiceName), generationService(context));
  server.addService(serviceOf(protos, inferenceServiceName), inferenceService(context));
  const health = new HealthImplementation();
  health.addToServer(server);
  new ReflectionService(protos).addToServer(server);
  const refreshHealth = () => {
    const status = isReady(context) ? "SERVING" : "NOT_SERVING";
    for (const name of healthNames) health.setStatus(name, status);
  };
  refreshHealth();
  const stopObserving = context.engine.observe({ state: refreshHealth });
  const boundPort = await bind(server, host, port);
  return {
    address: `${host.includes(":") ? `[${host}]` : host}:${boundPort}`,
    refreshHealth,
    close: async () => {
      stopObserving();
      await shutDown(server);
    },
  };
}

function bind(server: Server, host: string, port: number): Promise<number> {
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, boundPort) => {
      if (error === null) resolve(boundPort);
      else
        reject(new KvantError("LISTEN_FAILED", `gRPC cannot listen on ${address}: ${error.message}`, { cause: error }));
    });
  });
}

function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, closeGraceMilliseconds);
    server.tryShutdown(() => {
      clearTimeout(cut);
      resolve();
    });
  });
}
