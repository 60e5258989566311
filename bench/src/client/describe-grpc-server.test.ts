import { type handleUnaryCall, Server, ServerCredentials, status } from "@grpc/grpc-js";
import { afterAll, expect, test } from "vitest";
import { describeGrpcServer } from "./describe-grpc-server.ts";
import { generationService } from "./generation-service.ts";

const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.forceShutdown();
});

type ModelInfoHandler = handleUnaryCall<object, object>;

/** A server of Kvant's service that answers so to the one question asked here; of no service without an answer. */
async function serverOf(getModelInfo?: ModelInfoHandler): Promise<string> {
  const server = new Server();
  servers.push(server);
  if (getModelInfo !== undefined) server.addService((await generationService()).service, { getModelInfo });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return `grpc://127.0.0.1:${port}`;
}

test("a Kvant server tells its model and scheme", async () => {
  const scheme = { weights: "int8-channel", activations: "int8", kvFormat: "int8", device: "cpu", tier: "avx2" };
  const url = await serverOf((_, answer) =>
    answer(null, { name: "tiny", vocabularySize: 4096, deterministic: true, ...scheme }),
  );
  expect(await describeGrpcServer({ url })).toEqual({
    ...{ model: "tiny", software: "kvant", vocabularySize: 4096, deterministic: true },
    scheme,
  });
});

test.each([
  [status.UNAUTHENTICATED, "UNAUTHORIZED", "the server wants another API key; give --api-key-file (so it is)"],
  [status.PERMISSION_DENIED, "FORBIDDEN", "forbids it to this API key"],
  [status.NOT_FOUND, "MODEL_NOT_FOUND", "the server has no such model: so it is"],
  [status.UNAVAILABLE, "INVALID_ARGUMENT", "nothing answers there (so it is)"],
  [status.INTERNAL, "INVALID_ARGUMENT", "refuses to tell of its model: INTERNAL, so it is"],
])("status %i is %s", async (code, expected, sentence) => {
  const url = await serverOf((_, answer) => answer({ code, details: "so it is" }));
  await expect(describeGrpcServer({ url, model: "m" })).rejects.toMatchObject({
    code: expected,
    message: expect.stringContaining(sentence),
  });
});

test("another gRPC server is none of Kvant's, and a port where nobody listens does not answer", async () => {
  await expect(describeGrpcServer({ url: await serverOf() })).rejects.toThrow("what answers there is no Kvant server");
  await expect(describeGrpcServer({ url: "grpc://127.0.0.1:59999" })).rejects.toThrow("nothing answers there");
});
