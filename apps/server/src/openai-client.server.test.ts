import type { Engine } from "@kvant/engine";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { engineCases } from "./testing/engines.ts";
import { eventually, type Served, serve } from "./testing/serving.ts";

describe.each(engineCases)("the openai client on $name", ({ start }) => {
  let engine: Engine;
  let served: Served;
  let client: OpenAI;
  beforeAll(async () => {
    engine = await start();
    served = await serve(engine, { servedModelName: "tiny" });
    client = new OpenAI({ apiKey: "none", baseURL: `${served.url}/v1`, maxRetries: 0 });
  });
  afterAll(async () => {
    await served[Symbol.asyncDispose]();
    await engine.close();
  });
  const messages = [{ role: "user" as const, content: "Tell me a story." }];
  const greedy = { model: "tiny", temperature: 0, max_tokens: 12 };

  test("a streamed chat completion starts with the role and adds up to the whole one", async () => {
    const whole = await client.chat.completions.create({ ...greedy, messages });
    const stream = await client.chat.completions.create({
      ...greedy,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks: OpenAI.ChatCompletionChunk[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks[0]?.choices[0]?.delta).toMatchObject({ role: "assistant", content: "" });
    const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
    expect(text).toBe(whole.choices[0]?.message.content);
    expect(text.length).toBeGreaterThan(0);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe(whole.choices[0]?.finish_reason);
    // A repeated prompt is found in the prefix cache, so the cached part may differ.
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: {
        prompt_tokens: whole.usage?.prompt_tokens,
        completion_tokens: whole.usage?.completion_tokens,
        total_tokens: whole.usage?.total_tokens,
      },
    });
    expect(chunks.every(({ id }) => id === chunks[0]?.id && id.startsWith("chatcmpl-"))).toBe(true);
  });

  test("a streamed completion adds up to the whole one", async () => {
    const whole = await client.completions.create({ ...greedy, prompt: "Once upon a time" });
    let text = "";
    let finish: string | null | undefined;
    for await (const chunk of await client.completions.create({
      ...greedy,
      prompt: "Once upon a time",
      stream: true,
    })) {
      text += chunk.choices[0]?.text ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
    }
    expect(text).toBe(whole.choices[0]?.text);
    expect(finish).toBe(whole.choices[0]?.finish_reason);
    expect(whole.id).toMatch(/^cmpl-/);
  });

  test("choices of several prompts times n come in OpenAI's order", async () => {
    const prompts = ["One day", "In the end"];
    const together = await client.completions.create({ ...greedy, prompt: prompts, n: 2 });
    expect(together.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    const alone = await Promise.all(prompts.map((prompt) => client.completions.create({ ...greedy, prompt })));
    expect(together.choices[0]?.text).toBe(alone[0]?.choices[0]?.text);
    expect(together.choices[2]?.text).toBe(alone[1]?.choices[0]?.text);
    expect(together.usage?.completion_tokens).toBeGreaterThanOrEqual(4);
  });

  test("log probabilities name as many tokens as usage counts, most likely first", async () => {
    const answer = await client.chat.completions.create({ ...greedy, messages, logprobs: true, top_logprobs: 3 });
    const content = answer.choices[0]?.logprobs?.content ?? [];
    expect(content.length).toBe(answer.usage?.completion_tokens);
    for (const { logprob, top_logprobs } of content) {
      expect(top_logprobs.length).toBe(3);
      expect(logprob).toBeLessThanOrEqual(0);
      expect(top_logprobs.map((top) => top.logprob)).toEqual(
        top_logprobs.map((top) => top.logprob).sort((left, right) => right - left),
      );
    }
  });

  test("aborting a stream frees the request", async () => {
    const stream = await client.chat.completions.create({
      model: "tiny",
      messages,
      stream: true,
      max_tokens: 256,
      ...{ ignore_eos: true },
    });
    for await (const _ of stream) break;
    await eventually("no running request", () => engine.stats().running === 0 && engine.stats().pages.used === 0);
  });

  test("the model list names the served model and an unknown one is NotFoundError", async () => {
    expect((await client.models.list()).data.map(({ id }) => id)).toEqual(["tiny"]);
    await expect(client.models.retrieve("other")).rejects.toThrow(OpenAI.NotFoundError);
    await expect(client.chat.completions.create({ model: "other", messages })).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
    });
  });
});
