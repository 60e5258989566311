import {
  type Metadata,
  ResponderBuilder,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  status,
} from "@grpc/grpc-js";
import type { Access } from "../key-ring.ts";
import type { ServerContext } from "../server-context.ts";
import type { GenerateResponse } from "./generated/kvant/v1/GenerateResponse.ts";
import { serviceError } from "./grpc-errors.ts";

// What probes ask without a key, as /health and /ready over HTTP.
const publicMethods: ReadonlySet<string> = new Set([
  "/grpc.health.v1.Health/Check",
  "/grpc.health.v1.Health/List",
  "/grpc.health.v1.Health/Watch",
  "/inference.GRPCInferenceService/ServerLive",
  "/inference.GRPCInferenceService/ServerReady",
  "/inference.GRPCInferenceService/ModelReady",
]);

/** Checks the key of every call, and logs and counts every call when it ends. */
export function callInterceptor({ keys, logger, metrics }: ServerContext): ServerInterceptor {
  return ({ path }, call) => {
    const access: Access = publicMethods.has(path) ? "public" : "api";
    const started = performance.now();
    let usage: NonNullable<GenerateResponse["done"]>["usage"];
    let isRecorded = false;
    const record = (code: number) => {
      if (isRecorded) return;
      isRecorded = true;
      metrics.requests.answered("grpc", path, code);
      const line = {
        method: "gRPC",
        route: path,
        status: status[code],
        ms: Math.round((performance.now() - started) * 10) / 10,
        ...(usage ?? {}),
      };
      if (access === "public") logger.debug(line, "request");
      else logger.info(line, "request");
    };
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata((metadata, next) => {
        try {
          keys.check(authorization(metadata), access);
        } catch (error) {
          const { code, details, metadata: trailers } = serviceError(error);
          call.sendStatus({ code: code ?? status.INTERNAL, details: details ?? "", metadata: trailers ?? null });
          record(code ?? status.INTERNAL);
          return;
        }
        next(metadata);
      })
      .withOnCancel(() => record(status.CANCELLED))
      .build();
    const responder = new ResponderBuilder()
      .withStart((next) => next(listener))
      .withSendMessage((message: GenerateResponse, next) => {
        usage = message.done?.usage ?? usage;
        next(message);
      })
      .withSendStatus((sent, next) => {
        record(sent.code ?? status.OK);
        next(sent);
      })
      .build();
    return new ServerInterceptingCall(call, responder);
  };
}

function authorization(metadata: Metadata): string | undefined {
  const value = metadata.get("authorization")[0];
  return value === undefined ? undefined : value.toString();
}
