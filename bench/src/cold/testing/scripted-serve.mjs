// Stands in for the command line: `doctor --json`, and `serve [broken | stuck | chunky]`, which says and answers what
// `kvant serve` does, after known delays.
import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

const [command, ...args] = process.argv.slice(2);
const say = (sentence) => process.stderr.write(`${sentence}\n`);

if (command === "doctor") {
  const machine = {
    node: "20.0.0",
    platform: "linux-x64",
    processor: "abacus",
    cores: 2,
    memoryBytes: 1024,
    cuda: null,
  };
  process.stdout.write(`${JSON.stringify(machine)}\n`);
} else {
  say("kvant: loading model (weights int8-channel, KV int8)");
  if (args.includes("broken")) {
    say("kvant: model: there is no such model [CHECKPOINT_NOT_FOUND]");
    process.exit(1);
  }
  await delay(30);
  say("model: LlamaForCausalLM\nruns on cpu abacus, 2 threads; loaded in 0.02 s");
  if (args.includes("stuck")) await delay(60_000);
  await serve();
}

async function serve() {
  let [probes, decodeSteps, decodeSeconds] = [0, 0, 0];
  const model = {
    id: "model",
    max_model_len: 40,
    kvant: {
      vocabulary_size: 100,
      weights: "int8-channel",
      activations: "int8",
      kv_format: "int8",
      device: "cpu",
      tier: "abacus",
      load_seconds: 0.02,
    },
  };
  const token = (text) => `data: ${JSON.stringify({ choices: [{ text, logprobs: { tokens: [text] } }] })}\n\n`;
  const complete = async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const { prompt, max_tokens: tokens } = JSON.parse(body);
    if (prompt.length !== 20) return response.writeHead(400).end(`prompt of ${prompt.length}`);
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    for (let i = 0; i < tokens; i++) {
      await delay(5);
      // A half event, to be put together by who reads it.
      const event = token("ü");
      response.write(event.slice(0, 20));
      if (args.includes("chunky")) await delay(2);
      response.write(event.slice(20));
      if (i === 0) continue;
      decodeSeconds += decodeSteps === 0 ? 0.5 : 0.25;
      decodeSteps += 1;
    }
    return response.end(`data: ${JSON.stringify({ choices: [{ text: "", logprobs: null }] })}\n\ndata: [DONE]\n\n`);
  };
  const server = createServer((request, response) => {
    if (request.url === "/ready") {
      probes += 1;
      response.writeHead(probes < 4 ? 503 : 200).end("{}");
    } else if (request.url === "/v1/models") response.end(JSON.stringify({ data: [model] }));
    else if (request.url === "/version") response.end('{"version":"1.2.3"}');
    else if (request.url === "/metrics") {
      const [count, sum] = ["count", "sum"].map((suffix) => `kvant_step_seconds_${suffix}{kind="decode"}`);
      response.end(`${sum} ${decodeSeconds}\n${count} ${decodeSteps}\n`);
    } else complete(request, response);
  });
  server.listen(0, "127.0.0.1", () => say(`kvant: ready at http://127.0.0.1:${server.address().port}`));
  process.once("SIGTERM", () => process.exit(0));
}
