import { credentials, Metadata, makeClientConstructor, type ServiceError } from "@grpc/grpc-js";
import type { GenerateRequest } from "../grpc/generated/kvant/v1/GenerateRequest.ts";
import type { GenerateResponse__Output } from "../grpc/generated/kvant/v1/GenerateResponse.ts";
import type { GenerationServiceClient } from "../grpc/generated/kvant/v1/GenerationService.ts";
import { loadProtos, serviceOf } from "../grpc/proto-files.ts";
import { reflectedClient } from "./reflection-client.ts";

const serviceName = "kvant.v1.GenerationService";

export interface GenerationClientOptions {
  /** Sent as a bearer token. */
  readonly key?: string;
  /**
   * Where the client learns the service: from the server itself, or from this repository's files. (protobufjs shows the maps
   * of a reflected service as lists of entries, so tests of map fields take the files.)
   */
  readonly from?: "reflection" | "files";
}

/** A client of `kvant.v1.GenerationService`. */
export async function generationClient(
  address: string | undefined,
  { key, from = "reflection" }: GenerationClientOptions = {},
) {
  const metadata = new Metadata();
  if (key !== undefined) metadata.set("authorization", `Bearer ${key}`);
  if (address === undefined) throw new Error("the server has no gRPC address");
  const made =
    from === "reflection"
      ? await reflectedClient(address, serviceName, metadata)
      : new (makeClientConstructor(serviceOf(await loadProtos(), serviceName), serviceName))(
          address,
          credentials.createInsecure(),
        );
  const client = made as GenerationServiceClient;
  return {
    client,
    metadata,
    /** All messages of one call; rejects with its status. */
    generate: async (request: GenerateRequest, options: { readonly deadline?: Date } = {}) => {
      const messages: GenerateResponse__Output[] = [];
      for await (const message of client.Generate(request, metadata, options)) {
        messages.push(message as GenerateResponse__Output);
      }
      return messages;
    },
    [Symbol.dispose]: () => client.close(),
  };
}

/** A unary call as a promise. */
export function answered<Response>(
  call: (callback: (error: ServiceError | null, response?: Response) => void) => unknown,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => {
      if (error !== null) reject(error);
      else if (response === undefined) reject(new Error("neither a response nor an error"));
      else resolve(response);
    });
  });
}
