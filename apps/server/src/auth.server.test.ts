import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { FakeEngine } from "./testing/fake-engine.ts";
import { generationClient } from "./testing/generation-client.ts";
import { serve } from "./testing/serving.ts";

const apiKey = "api-key-0001";
const adminKey = "admin-key-0001";
const unknownKey = "other-key-0001";

type Keys = { readonly apiKeys?: readonly string[]; readonly adminKeys?: readonly string[] };
const none: Keys = {};
const api: Keys = { apiKeys: ["api-key-0000", apiKey] };
const admin: Keys = { adminKeys: [adminKey] };
const both: Keys = { ...api, ...admin };

/** Statuses of [/health, /v1/models, /metrics] without a key, with an unknown, an API and an admin key. */
const matrix: readonly [name: string, keys: Keys, expected: Record<string, readonly [number, number, number]>][] = [
  ["no keys", none, { "": [200, 200, 200], [unknownKey]: [200, 200, 200] }],
  [
    "API keys",
    api,
    { "": [200, 401, 401], [unknownKey]: [200, 401, 401], [apiKey]: [200, 200, 200], [adminKey]: [200, 401, 401] },
  ],
  [
    "admin keys",
    admin,
    { "": [200, 401, 401], [unknownKey]: [200, 401, 401], [apiKey]: [200, 401, 401], [adminKey]: [200, 200, 200] },
  ],
  [
    "API and admin keys",
    both,
    { "": [200, 401, 401], [unknownKey]: [200, 401, 401], [apiKey]: [200, 200, 403], [adminKey]: [200, 200, 200] },
  ],
];

describe("keys", () => {
  test.each(matrix)("with %s configured guard every route but health", async (_, keys, expected) => {
    await using served = await serve(new FakeEngine(), keys);
    for (const [key, statuses] of Object.entries(expected)) {
      const headers: Record<string, string> = key === "" ? {} : { authorization: `Bearer ${key}` };
      const routes = ["/health", "/v1/models", "/metrics"];
      const answers = await Promise.all(routes.map(async (route) => (await served.get(route, headers)).status));
      expect([key, ...answers]).toEqual([key, ...statuses]);
    }
  });

  test("every route of the API asks for a key, also those that do not exist", async () => {
    await using served = await serve(new FakeEngine(), both);
    const { paths } = (await (await served.get("/openapi.json", { authorization: `Bearer ${apiKey}` })).json()) as {
      paths: Record<string, object>;
    };
    expect(Object.keys(paths).length).toBe(11);
    for (const [path, methods] of [...Object.entries(paths), ["/nowhere", { get: {} }] as const]) {
      for (const method of Object.keys(methods)) {
        const { status, headers } = await fetch(served.url + path, { method });
        const isPublic = path === "/health" || path === "/ready";
        expect([method, path, status]).toEqual([method, path, isPublic ? 200 : 401]);
        if (!isPublic) expect(headers.get("www-authenticate")).toBe("Bearer");
      }
    }
  });

  test("a key must come as a bearer token, and errors do not repeat it", async () => {
    await using served = await serve(new FakeEngine(), api);
    for (const authorization of [apiKey, `Basic ${apiKey}`, "Bearer", `Bearer ${unknownKey}`]) {
      const answer = await served.get("/v1/models", { authorization });
      expect(answer.status).toBe(401);
      expect(await answer.text()).not.toContain("key-0001");
    }
    expect((await served.get("/v1/models", { authorization: `bearer  ${apiKey}` })).status).toBe(200);
  });

  test("gRPC asks for the same keys in its metadata", async () => {
    await using served = await serve(new FakeEngine(), { ...api, grpcPort: 0 });
    const address = served.server.grpcAddress;
    const attempt = async (key?: string) => {
      using connection = await generationClient(address, { from: "files", ...(key === undefined ? {} : { key }) });
      return await connection.generate({ text: "x", stopping: { maxTokens: 2 } });
    };
    await expect(attempt()).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    await expect(attempt(unknownKey)).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    expect((await attempt(apiKey)).at(-1)?.done?.usage?.completionTokens).toBe(2);
    // Reflection tells what is served, so it is guarded too.
    await expect(generationClient(address)).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
  });
});
