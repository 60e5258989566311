import { createRequire } from "node:module";
import { dirname } from "node:path";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { load, type Options, type PackageDefinition } from "@grpc/proto-loader";
import { KvantError } from "@kvant/core";
import { protoPath as healthProto } from "grpc-health-check";

/** The files of `@kvant/proto` that this server implements, relative to its folder. */
export const protoFiles = ["kvant/v1/generation.proto", "inference/grpc_predict_v2.proto"] as const;

/** How messages look in TypeScript; the committed types under `generated/` are made with the same choices. */
const loaderOptions = {
  longs: Number,
  enums: String,
  defaults: true,
  arrays: true,
  objects: true,
  oneofs: true,
} as const satisfies Options;

/** Folder of the .proto files of the installed `@kvant/proto`. A bundle passes its own folder instead. */
export function installedProtoRoot(): string {
  return dirname(createRequire(import.meta.url).resolve("@kvant/proto/package.json"));
}

/** Every service of the server, the standard health service among them so that reflection can describe it. */
export async function loadProtos(protoRoot: string = installedProtoRoot()): Promise<PackageDefinition> {
  return load([...protoFiles, healthProto], { ...loaderOptions, includeDirs: [protoRoot] });
}

/** Throws INTERNAL when the files do not define the service. */
export function serviceOf(protos: PackageDefinition, name: string): ServiceDefinition {
  const definition = protos[name];
  // A message has `format`, a service is a table of its methods.
  if (definition === undefined || "format" in definition) {
    throw new KvantError("INTERNAL", `the .proto files define no service ${name}`);
  }
  return definition as ServiceDefinition;
}
