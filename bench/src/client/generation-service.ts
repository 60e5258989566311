import { createRequire } from "node:module";
import { dirname } from "node:path";
import { loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { load } from "@grpc/proto-loader";
import { KvantError } from "@kvant/core";

const serviceName = "kvant.v1.GenerationService";

/** The client class of Kvant's own service, out of the installed `@kvant/proto`. Fields have camel case, enums are strings. */
export async function generationService(): Promise<ServiceClientConstructor> {
  const root = dirname(createRequire(import.meta.url).resolve("@kvant/proto/package.json"));
  const protos = await load("kvant/v1/generation.proto", {
    includeDirs: [root],
    longs: Number,
    enums: String,
    defaults: true,
    arrays: true,
    oneofs: true,
  });
  let service: unknown = loadPackageDefinition(protos);
  for (const name of serviceName.split(".")) {
    if (typeof service === "object" && service !== null) service = Reflect.get(service, name);
  }
  if (!isServiceClient(service)) throw new KvantError("INTERNAL", `the .proto files define no service ${serviceName}`);
  return service;
}

function isServiceClient(value: unknown): value is ServiceClientConstructor {
  return typeof value === "function" && "service" in value;
}
