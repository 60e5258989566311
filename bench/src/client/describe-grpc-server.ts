import { createRequire } from "node:module";
import { dirname } from "node:path";
import { credentials, loadPackageDefinition, Metadata, type ServiceError } from "@grpc/grpc-js";
import { load } from "@grpc/proto-loader";
import { KvantError } from "@kvant/core";
import type { DescribeServerOptions, ServerDescription } from "../serving/describe-server.ts";

const patienceMilliseconds = 10_000;

/** `GetModelInfoResponse` of proto/kvant/v1/generation.proto, as far as it is needed here. */
interface ModelInfo {
  readonly name: string;
  readonly vocabularySize: number;
  readonly weights: string;
  readonly activations: string;
  readonly kvFormat: string;
  readonly device: string;
  readonly tier: string;
  readonly deterministic: boolean;
}

/**
 * Asks a Kvant server over gRPC what it serves. The service has no version of the software, so that stays untold.
 * @param url `grpc://host:port`
 * @throws KvantError INVALID_ARGUMENT if nothing answers there, or not to this key or model
 */
export async function describeGrpcServer({ url, apiKey, model }: DescribeServerOptions): Promise<ServerDescription> {
  const root = dirname(createRequire(import.meta.url).resolve("@kvant/proto/package.json"));
  const protos = await load("kvant/v1/generation.proto", { includeDirs: [root], longs: Number, defaults: true });
  const Service = ["kvant", "v1", "GenerationService"].reduce<unknown>(
    (scope, name) => Reflect.get(scope as object, name),
    loadPackageDefinition(protos),
  ) as new (
    address: string,
    security: ReturnType<typeof credentials.createInsecure>,
  ) => GenerationClient;
  const client = new Service(url.replace(/^grpc:\/\//, ""), credentials.createInsecure());
  const metadata = new Metadata();
  if (apiKey !== undefined) metadata.set("authorization", `Bearer ${apiKey}`);
  try {
    const { name, vocabularySize, weights, activations, kvFormat, device, tier, deterministic } =
      await new Promise<ModelInfo>((resolve, reject) => {
        const deadline = Date.now() + patienceMilliseconds;
        client.getModelInfo({ model: model ?? "" }, metadata, { deadline }, (error, info) =>
          error === null ? resolve(info!) : reject(refused(url, error)),
        );
      });
    return {
      model: name,
      software: "kvant",
      scheme: { weights, activations, kvFormat, device, tier },
      ...{ vocabularySize, deterministic },
    };
  } finally {
    client.close();
  }
}

interface GenerationClient {
  getModelInfo(
    request: { readonly model: string },
    metadata: Metadata,
    options: { readonly deadline: number },
    answered: (error: ServiceError | null, info?: ModelInfo) => void,
  ): void;
  close(): void;
}

function refused(url: string, error: ServiceError): KvantError {
  return new KvantError("INVALID_ARGUMENT", `${url}: nothing answers there as a Kvant server (${error.details})`, {
    field: "grpc",
    cause: error,
  });
}
