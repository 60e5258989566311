import { type Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type ErrorCode, KvantError } from "@kvant/core";
import type { DescribeServerOptions, ServerDescription } from "../serving/describe-server.ts";
import { generationService } from "./generation-service.ts";

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

type GetModelInfo = (
  request: { readonly model: string },
  metadata: Metadata,
  options: { readonly deadline: number },
  answered: (error: ServiceError | null, info?: ModelInfo) => void,
) => void;

/**
 * Asks a Kvant server over gRPC what it serves. The service has no version of the software, so that stays untold.
 * @param url `grpc://host:port`
 * @throws KvantError INVALID_ARGUMENT if nothing answers there, or no Kvant server; UNAUTHORIZED, FORBIDDEN or MODEL_NOT_FOUND if it
 * refuses the key or the model
 */
export async function describeGrpcServer({ url, apiKey, model }: DescribeServerOptions): Promise<ServerDescription> {
  const Service = await generationService();
  const client: Client = new Service(url.replace(/^grpc:\/\//, ""), credentials.createInsecure());
  const metadata = new Metadata();
  if (apiKey !== undefined) metadata.set("authorization", `Bearer ${apiKey}`);
  try {
    const { name, vocabularySize, weights, activations, kvFormat, device, tier, deterministic } =
      await new Promise<ModelInfo>((resolve, reject) => {
        const deadline = Date.now() + patienceMilliseconds;
        const getModelInfo = Reflect.get(client, "getModelInfo") as GetModelInfo;
        getModelInfo.call(client, { model: model ?? "" }, metadata, { deadline }, (error, info) =>
          error === null ? resolve(info!) : reject(refusal(url, error)),
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

function refusal(url: string, error: ServiceError): KvantError {
  const [code, field, sentence] = complaint(error);
  return new KvantError(code, `${url}: ${sentence}`, { field, cause: error });
}

function complaint({ code, details }: ServiceError): readonly [code: ErrorCode, field: string, sentence: string] {
  switch (code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
      return ["INVALID_ARGUMENT", "grpc", `nothing answers there (${details})`];
    case status.UNIMPLEMENTED:
      return ["INVALID_ARGUMENT", "grpc", `what answers there is no Kvant server (${details})`];
    case status.UNAUTHENTICATED:
      return ["UNAUTHORIZED", "apiKey", `the server wants another API key; give --api-key-file (${details})`];
    case status.PERMISSION_DENIED:
      return ["FORBIDDEN", "apiKey", `the server forbids it to this API key; give another --api-key-file (${details})`];
    case status.NOT_FOUND:
      return ["MODEL_NOT_FOUND", "model", `the server has no such model: ${details}`];
    default:
      return [
        "INVALID_ARGUMENT",
        "grpc",
        `the server refuses to tell of its model: ${status[code] ?? code}, ${details}`,
      ];
  }
}
