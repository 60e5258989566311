import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, expect, test } from "vitest";
import { describeServer } from "./describe-server.ts";

const closing: (() => void)[] = [];
afterAll(() => {
  for (const close of closing) close();
});

/** A server of these answers by path, each a body or a body and headers; all else is 404. */
async function serverOf(answers: Readonly<Record<string, object>>, headers: Record<string, string> = {}, absent = 404) {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    const answer = answers[request.url ?? ""];
    response.writeHead(answer === undefined ? absent : 200, { "content-type": "application/json", ...headers });
    response.end(answer === undefined ? "<html>not found</html>" : JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const kvant = {
  ...{ weights: "int8-channel", activations: "int8", kv_format: "int8", device: "cpu", tier: "avx2", threads: 2 },
  ...{ deterministic: true, vocabulary_size: 4096, tensor_classes: [{ class: "head", format: "int8-channel" }] },
};

test("a Kvant server tells its scheme, vocabulary and version", async () => {
  const { url } = await serverOf({
    "/v1/models": { data: [{ id: "tiny", owned_by: "kvant", kvant }] },
    "/version": { version: "0.1.0", node: "20.19.4" },
  });
  expect(await describeServer({ url })).toEqual({
    ...{ model: "tiny", software: "kvant 0.1.0", vocabularySize: 4096, deterministic: true },
    scheme: {
      ...{ weights: "int8-channel", activations: "int8", kvFormat: "int8", headFormat: "int8-channel" },
      ...{ device: "cpu", tier: "avx2" },
    },
  });
});

test("vLLM tells its version, llama.cpp its name, others nothing", async () => {
  const vllm = await serverOf({
    "/v1/models": { object: "list", data: [{ id: "meta-llama/Llama-3-8B", owned_by: "vllm" }] },
    "/version": { version: "0.8.5" },
  });
  expect(await describeServer(vllm)).toEqual({ model: "meta-llama/Llama-3-8B", software: "vllm 0.8.5" });
  const llama = await serverOf(
    { "/v1/models": { data: [{ id: "gpt-3.5", owned_by: "llamacpp" }] } },
    { server: "llama.cpp" },
  );
  expect(await describeServer(llama)).toEqual({ model: "gpt-3.5", software: "llama.cpp" });
  const other = await serverOf({ "/v1/models": { data: [{ id: "m" }] } }, { server: "uvicorn" });
  expect(await describeServer(other)).toEqual({ model: "m", software: "uvicorn" });
});

test("a model that is named is asked for, listed or not, and the key goes along", async () => {
  const { url, seen } = await serverOf({ "/v1/models": { data: [{ id: "a" }, { id: "tiny", kvant }] } });
  expect(await describeServer({ url, model: "tiny", apiKey: "sk-1" })).toMatchObject({ vocabularySize: 4096 });
  expect(await describeServer({ url, model: "else" })).toEqual({ model: "else" });
  expect(seen.slice(0, 2)).toEqual(["Bearer sk-1", "Bearer sk-1"]);
  expect(await describeServer({ ...(await serverOf({})), model: "m" })).toEqual({ model: "m" });
});

test("a server with its own idea of a list lists nothing, and one that tells little of itself is told of as far", async () => {
  for (const data of [{}, "models", [null, { name: "m" }, { id: 7 }]]) {
    const server = await serverOf({ "/v1/models": { data } });
    await expect(describeServer(server)).rejects.toThrow(/answers 200 and lists no model; name one with --model/);
    expect(await describeServer({ ...server, model: "m" })).toEqual({ model: "m" });
  }
  const sparse = await serverOf({
    "/v1/models": { data: [{ id: "m", kvant: { weights: "bf16", tensor_classes: {} } }] },
  });
  expect(await describeServer(sparse)).toEqual({ model: "m", scheme: { weights: "bf16" } });
});

test.each([
  [401, "UNAUTHORIZED"],
  [403, "FORBIDDEN"],
] as const)("a server that answers %i is said to want a key", async (status, code) => {
  const server = await serverOf({}, {}, status);
  await expect(describeServer(server)).rejects.toMatchObject({
    code,
    message: `${server.url}: the server wants an API key; give --api-key-file (/v1/models answers ${status})`,
  });
  await expect(describeServer({ ...server, apiKey: "sk-1" })).rejects.toThrow(
    "does not take the key of --api-key-file",
  );
});

test("a server that lists no model, and one that is not there, are refused", async () => {
  await expect(describeServer(await serverOf({}))).rejects.toThrow(
    /\/v1\/models answers 404 and lists no model; name one/,
  );
  // A port of the dynamic range on which nobody listens; the lowest ones `fetch` refuses by itself.
  await expect(describeServer({ url: "http://127.0.0.1:59999" })).rejects.toThrow(
    /^http:\/\/127\.0\.0\.1:59999: nothing answers there \(.*ECONNREFUSED/,
  );
});
