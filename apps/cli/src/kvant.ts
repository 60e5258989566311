import { errorCode } from "@kvant/core";
import { Command, CommanderError, Option } from "commander";
import { countList, nameList, percentage } from "./list-options.ts";
import { addLoadFlags, timeSpan } from "./load-flags.ts";
import {
  addModelFlags,
  addSizeFlags,
  decimal,
  nonNegativeInteger,
  port,
  positiveInteger,
  tokenIds,
} from "./model-options.ts";
import { say } from "./print.ts";
import { endWithReader } from "./standard-streams.ts";
import { version } from "./version.ts";

// Commands are imported when they run: `generate` should not wait for the server's code.

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}

/** A refusal of the operating system, whose message names the call and the path or port. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error && "code" in error;
}

const program = new Command("kvant")
  .description("Serve, run, inspect and measure quantized language models.")
  .version(version)
  .exitOverride();

addSizeFlags(
  addModelFlags(
    program
      .command("serve [model]")
      .description("serve a model over HTTP (OpenAI-compatible) and gRPC; no model: the built-in one"),
  ),
)
  .option("--host <address>", "address to listen on", "127.0.0.1")
  .option("--port <port>", "HTTP port; 0: any free one", port, 8000)
  .option("--grpc-port <port>", "gRPC port; 0: any free one", port, 50051)
  .option("--no-grpc", "serve HTTP only")
  .option("--no-warm-up", "be ready sooner on cuda: kernels load and graphs are recorded when requests first need them")
  .option("--stream-interval <tokens>", "tokens that a streamed chunk gathers; default: 1", positiveInteger)
  .option("--served-model-name <name>", "the model's name in requests and responses")
  .option("--api-key-file <file>", "one API key per line; guards every route but health")
  .option("--admin-key-file <file>", "one admin key per line; guards operational routes")
  .addOption(new Option("--metrics-alias <dialect>", "also export metrics under these names").choices(["vllm"]))
  .addOption(
    new Option("--log-level <level>", "requests are logged at info")
      .choices(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
      .default("info"),
  )
  .option("--drain-seconds <seconds>", "how long SIGTERM waits for running requests", nonNegativeInteger, 30)
  .action(async (model, flags) => (await import("./commands/serve.ts")).serve(model, flags));

addSizeFlags(addModelFlags(program.command("generate [model]").description("generate text in this process")))
  .option("--prompt <text>", "the prompt")
  .option("--token-ids <ids>", "the prompt as comma-separated token ids", tokenIds)
  .option("--chat", "read the prompt as a user message of the model's chat template")
  .option("--max-tokens <count>", "tokens to generate; default: what is left of the context", positiveInteger)
  .option("--temperature <t>", "0: greedy", decimal, 0)
  .option("--top-p <p>", "", decimal)
  .option("--top-k <k>", "", nonNegativeInteger)
  .option("--min-p <p>", "", decimal)
  .option("--repetition-penalty <r>", "", decimal)
  .option("--seed <seed>", "same seed, same text", nonNegativeInteger)
  .option("--stop <text>", "stop at this text; repeatable", collect)
  .option("--ignore-eos", "generate past the end of sequence")
  .option("--print-token-ids", "print the generated ids, comma separated, on one line")
  .option("--json", "print one JSON object")
  .option("--quiet", "nothing on standard error")
  .action(async (model, flags) => (await import("./commands/generate.ts")).generate(model, flags));

addModelFlags(
  program.command("inspect [model]").description("what is really quantized, bytes by tensor class, the plan"),
)
  .option("--plan", "print recorded and lowered ops with bytes moved and operations")
  .option("--tokens <count>", "tokens in the step whose cost --plan prints", positiveInteger, 1)
  .option("--context <tokens>", "context length for that cost", positiveInteger, 512)
  .option("--json", "print one JSON object")
  .action(async (model, flags) => (await import("./commands/inspect.ts")).inspect(model, flags));

program
  .command("doctor")
  .description("which backends run here and, for each that does not, why")
  .option("--json", "print one JSON object")
  .action(async (flags) => (await import("./commands/doctor.ts")).doctor(flags));

addModelFlags(
  program
    .command("eval [models...]")
    .description("what models and number formats lose on a text, and with --speed what they cost"),
)
  .option("--text <file>", "a UTF-8 text; repeatable, texts are joined", collect)
  .option("--generate <tokens>", "in place of a text, so many tokens that the reference model writes", positiveInteger)
  .option("--seed <seed>", "of the generated text", nonNegativeInteger, 1)
  .option(
    "--reference [model]",
    "compare with a model folder, the first model in a weight format, or the first candidate: first; " +
      "alone: with the first model as it is stored",
  )
  .option("--speed", "also memory, tokens per second and first-token latency, each candidate in a process of its own")
  .option("--chunk-tokens <count>", "tokens per step; results do not depend on it", positiveInteger)
  .option("--no-kl", "without a reference: skip the KL divergence from a BF16 KV cache, which runs the model twice")
  .option("--json", "print one JSON object per row")
  .addHelpText(
    "after",
    "\n--weights, --activations and --kv-format take comma-separated lists; --kv-format all names every KV format." +
      "\nPut models before --reference: what follows that flag is its value.",
  )
  .action(async (models, flags) => (await import("./commands/eval.ts")).evaluateModels(models, flags));
program
  .command("eval-cost <engine>", { hidden: true })
  .action(async (engine) => (await import("./commands/eval-cost.ts")).costProcess(engine));

addModelFlags(program.command("logits <model>").description("logits of token sequences, as safetensors"))
  .requiredOption("--input <file>", "safetensors with input_ids int32 [B, T]")
  .requiredOption("--output <file>", "safetensors to write: logits float32 [B, T, vocabulary]")
  .option("--json", "print one JSON object")
  .action(async (model, flags) => (await import("./commands/logits.ts")).logits(model, flags));

program
  .command("quantize [model]")
  .description("a float checkpoint into a quantized one that Kvant, vLLM and transformers read")
  .requiredOption("--out <folder>", "folder to write; must not exist")
  .option("--scheme <scheme>", "int8, int4, int3, int2, e4m3, fp4, mxfp4, nvfp4, w8a8-int8 or w8a8-e4m3")
  .option(
    "--method <method>",
    "absmax, percentile, mse, entropy, gptq, awq, smoothquant; awq+gptq joins a fold and a rounding",
  )
  .option("--granularity <granularity>", "where scales lie: tensor, channel or group:N")
  .option("--affine", "zero points beside the scales")
  .option("--activations <when>", "scales of w8a8 activations: dynamic (default) or static")
  .option("--kv <format>", "static KV scales for e4m3 or int8 pages")
  .option("--kv-granularity <granularity>", "head or tensor", "head")
  .option("--observer <name>", "static scales by min-max (default), moving-average, percentile or mse")
  .option(
    "--ignore <pattern>",
    "modules that stay as they are; repeatable; * for any characters, re: for a regular expression",
    collect,
  )
  .option("--damping <fraction>", "gptq: of the Hessian's mean diagonal; default 0.01", decimal)
  .option("--act-order", "gptq: columns with large inputs first")
  .option("--recipe <file>", "YAML or JSON: a scheme and method per layer pattern")
  .option("--calibration <file>", "text, or .jsonl with a field text or prompt; repeatable", collect)
  .option("--eval <file>", "text on which the result is compared with the original, for the report")
  .option("--samples <count>", "calibration sequences", positiveInteger, 128)
  .option("--sample-tokens <count>", "tokens of each", positiveInteger, 512)
  .option("--seed <seed>", "which parts of the texts are drawn", nonNegativeInteger, 0)
  .option("--device <device>", "cpu, cuda or cuda:N: where layers run")
  .addOption(new Option("--backend <backend>", "run on the plain TypeScript reference").choices(["reference"]))
  .option("--threads <count>", "compute threads of device cpu; default: the machine's cores", positiveInteger)
  .option("--json", "print one JSON object")
  .action(async (model, flags) => (await import("./commands/quantize.ts")).quantize(model, flags));

program
  .command("sensitivity [model]")
  .description("what quantizing each linear layer alone does, and a recipe for kvant quantize within a budget of bits")
  .requiredOption("--budget-bits <bits>", "per weight of all linear layers, scales included", decimal)
  .option("--candidates <names>", "ways to quantize a layer, as in kvant bench quality", nameList, [
    "int4-g128/gptq",
    "int8-channel",
  ])
  .option("--keep", "layers may also stay as they are, at 16 bits")
  .requiredOption("--calibration <file>", "text, or .jsonl with a field text or prompt; repeatable", collect)
  .option("--samples <count>", "calibration sequences", positiveInteger, 16)
  .option("--sample-tokens <count>", "tokens of each", positiveInteger, 512)
  .option("--seed <seed>", "which parts of the texts are drawn", nonNegativeInteger, 0)
  .option("--out <file>", "write the recipe here, as YAML; must not exist")
  .option("--device <device>", "cpu, cuda or cuda:N: where layers run")
  .addOption(new Option("--backend <backend>", "run on the plain TypeScript reference").choices(["reference"]))
  .option("--threads <count>", "compute threads of device cpu; default: the machine's cores", positiveInteger)
  .option("--json", "print one JSON object per linear layer")
  .action(async (model, flags) => (await import("./commands/sensitivity.ts")).sensitivity(model, flags));

const bench = program.command("bench").description("measure");
addModelFlags(
  bench.command("engine [model]").description("decode and prefill speed beside the machine's read bandwidth"),
)
  .option("--shape <name>", "random weights of a named shape, e.g. tinyllama-1.1b")
  .option("--batch <count>", "sequences that decode together", positiveInteger, 1)
  .option("--context <tokens>", "tokens before the measured decode", positiveInteger, 64)
  .option("--prompt <tokens>", "tokens of the measured prefill; default: --context", positiveInteger)
  .option("--decode-tokens <count>", "decode tokens per round", positiveInteger, 32)
  .option("--max-step-tokens <tokens>", "tokens in one step; default: as kvant serve", positiveInteger)
  .option("--rounds <count>", "measured rounds, with bandwidth probes between them", positiveInteger, 2)
  .option("--warm-up <seconds>", "rounds that are not measured go on for so long", decimal, 5)
  .option("--json", "print one JSON object per row")
  .addHelpText("after", "\n--weights and --kv-format take comma-separated lists.")
  .action(async (model, flags) => (await import("./commands/bench-engine.ts")).benchEngine(model, flags));

bench
  .command("kernels")
  .description("each kernel beside the probes of memory and multipliers, and its distance from the reference")
  .option("--op <ops>", "linear, attention, kvWrite, rmsNorm, rope, siluMul, embed; default: all", nameList)
  .option("--shape <names>", "models whose layers give the sizes", nameList, ["tinyllama-1.1b"])
  .option("--weights <formats>", "weight formats of linear", nameList, ["bf16", "int8-channel", "int4-g32"])
  .option("--activations <format>", "activation format of linear; default: what the weight format implies")
  .option("--kv-format <formats>", "formats of attention and kvWrite", nameList, ["bf16", "e4m3", "int8"])
  .option("--tokens <counts>", "tokens per step", countList, [1, 8, 256])
  .option("--context <tokens>", "positions that attention sees", positiveInteger, 4096)
  .option(
    "--sequences <count>",
    "sequences of attention and kvWrite, each with a context of its own",
    positiveInteger,
    1,
  )
  .option("--page-tokens <tokens>", "tokens per page: 16, 32 or 64", positiveInteger)
  .option("--device <device>", "cpu, cuda or cuda:N")
  .option("--deterministic", "on cuda, only kernels whose results do not depend on the batch")
  .option("--tier <tier>", "instruction tier, e.g. avx2; default: the best present")
  .option("--threads <count>", "compute threads; default: the machine's cores", positiveInteger)
  .option("--rounds <count>", "rounds of probes and kernel in turn", positiveInteger, 5)
  .option("--json", "print one JSON object per row")
  .addHelpText("after", "\nLists are comma-separated.")
  .action(async (flags) => (await import("./commands/bench-kernels.ts")).benchKernels(flags));

bench
  .command("quantize")
  .description("seconds to quantize one decoder layer of random weights, by phase, beside the multipliers' peak")
  .option("--shape <name>", "whose layer: a named shape or a model folder, whose weights are not read", "llama3-8b")
  .option("--device <device>", "cpu, cuda or cuda:N", "cpu")
  .option("--samples <count>", "calibration sequences", positiveInteger, 128)
  .option("--sample-tokens <count>", "tokens of each", positiveInteger, 2048)
  .option("--scheme <scheme>", "as in kvant quantize", "int4")
  .option("--method <method>", "as in kvant quantize", "gptq")
  .option("--granularity <granularity>", "where scales lie; default: group:128, none for mxfp4 and nvfp4")
  .option("--act-order", "gptq: columns with large inputs first")
  .option("--threads <count>", "compute threads of device cpu; default: the machine's cores", positiveInteger)
  .option("--rounds <count>", "how often the layer is measured", positiveInteger, 1)
  .option("--json", "print one JSON object")
  .action(async (flags) => (await import("./commands/bench-quantize.ts")).benchQuantize(flags));

bench
  .command("quality [model]")
  .description("perplexity of quantization schemes beside BF16 on a text, and what theory promises of them")
  .requiredOption("--text <file>", "a UTF-8 text that the model has not been trained on")
  .option("--text-bytes <bytes>", "only so many bytes of it", positiveInteger)
  .option("--calibration <file>", "text for schemes that look at activations; repeatable", collect)
  .option("--samples <count>", "calibration sequences", positiveInteger, 128)
  .option("--sample-tokens <count>", "tokens of each", positiveInteger, 512)
  .option("--seed <seed>", "of calibration and planted outliers", nonNegativeInteger, 0)
  .option("--schemes <names>", "WEIGHTS[+ACTIVATIONS[-static]][/METHOD], as in int4-g128/awq", nameList)
  .option(
    "--plant-outliers <factor>",
    "first give the model activation outliers that leave it the same function",
    decimal,
  )
  .option("--outlier-channels <count>", "channels of the hidden state that get them", positiveInteger, 6)
  .option("--folder <folder>", "keep the quantized checkpoints here and use them again; default: a temporary folder")
  .option("--speed", "also memory, tokens per second and first-token latency, each scheme in a process of its own")
  .option("--check", "end with 1 if a claim does not hold")
  .option("--output <file>", "the result as JSON")
  .option("--html <file>", "the result as one self-contained page")
  .option("--markdown <file>", "the table and the claims as Markdown")
  .option("--device <device>", "cpu, cuda or cuda:N")
  .option("--threads <count>", "compute threads of device cpu; default: the machine's cores", positiveInteger)
  .option("--json", "print one JSON object per row")
  .action(async (model, flags) => (await import("./commands/bench-quality.ts")).benchQuality(model, flags));

addLoadFlags(
  bench
    .command("serve [args...]")
    .description(
      "a server under load, over HTTP or gRPC: throughput and latencies, over time and against each other; " +
        "without --url or --grpc one of its own, and what its processes spend (arguments after -- go to kvant serve)",
    ),
)
  .addHelpText(
    "after",
    "\nCtrl-C ends the load with a report. Ends with 1 if a request failed." +
      "\nExamples: kvant bench serve --url http://127.0.0.1:8000 --concurrency 1,4,16 --html report.html" +
      "\n          kvant bench serve --shape llama3-8b --device cuda --weights e4m3 -- --head-format bf16",
  )
  .action(async (args, flags) => (await import("./commands/bench-serve.ts")).benchServe(args, flags));

addSizeFlags(
  addModelFlags(
    bench
      .command("cold [model]")
      .description(
        "kvant serve from its start to the first tokens, with the model's files in the page cache and without",
      ),
  ),
)
  .option("--shape <name>", "random weights of a named shape; they come from no file, so every start is warm")
  .option("--runs <count>", "cold and warm starts of each, in turn", positiveInteger, 3)
  .option("--prompt-tokens <count>", "tokens in of the first request", positiveInteger, 32)
  .option("--limit-seconds <seconds>", "give a start up after this long", timeSpan, 600)
  .option("--drop-caches", "where dropping the files alone does not help, drop the machine's page cache; needs root")
  .option("--output <file>", "the result as JSON")
  .option("--html <file>", "the result as one self-contained page")
  .option("--markdown <file>", "the tables as Markdown")
  .option("--json", "print one JSON object")
  .action(async (model, flags) => (await import("./commands/bench-cold.ts")).benchCold(model, flags));

bench
  .command("overlay <results...>")
  .description("the sweeps of several results of kvant bench serve as curves of one page")
  .requiredOption("--html <file>", "the page")
  .option("--title <text>", "its title")
  .action(async (results, flags) => (await import("./commands/bench-overlay.ts")).benchOverlay(results, flags));

bench
  .command("compare <before> <after>")
  .description("two results of kvant bench serve, level by level, with 95 % intervals of each difference")
  .option(
    "--metric <names>",
    "throughput, ttft, tpot, itl, e2e (each of these four also .p50 or .p99), failed, good; default: all",
    nameList,
  )
  .option("--threshold <percent>", "a change within it does not count, e.g. 5%", percentage, 0.05)
  .option("--seed <seed>", "of the resamples", nonNegativeInteger, 0)
  .option("--markdown <file>", "also write the table as Markdown")
  .option("--json", "print one JSON object per level and metric")
  .addHelpText(
    "after",
    "\nEnds with 3 if something is worse by more than the threshold with 95 % confidence, with 4 if a metric of --metric" +
      "\nhas too few values for a verdict at every level.",
  )
  .action(async (before, after, flags) =>
    (await import("./commands/bench-compare.ts")).benchCompare(before, after, flags),
  );

bench
  .command("peers")
  .description(
    "Kvant and node-llama-cpp (from npm, into a throw-away folder) in turn on the same shape, bits and threads",
  )
  .option("--shape <names>", "models of random weights", nameList, ["tinyllama-1.1b"])
  .option("--bits <bits>", "bits of a weight: 16, 8 or 4", countList, [8, 4])
  .option("--context <counts>", "tokens of the prompt, before the measured decode", countList, [64, 512])
  .option("--decode-tokens <count>", "decode tokens per round", positiveInteger, 32)
  .option("--kv-bits <bits>", "bits of a cached value on both sides: 16 or 8", positiveInteger, 16)
  .option("--threads <count>", "compute threads of both; default: the machine's cores", positiveInteger)
  .option("--rounds <count>", "measured pairs", positiveInteger, 3)
  .option("--server", "also 8 streams that start together, 64 tokens in and 64 out")
  .option("--keep", "leave the folder with packages and GGUF files")
  .option("--json", "print one JSON object per row")
  .addHelpText("after", "\nLists are comma-separated.")
  .action(async (flags) => (await import("./commands/bench-peers.ts")).benchPeers(flags));
bench
  .command("peer-process", { hidden: true })
  .action(async () => (await import("./commands/bench-peers.ts")).peerProcess());
bench.command("load-worker", { hidden: true }).action(async () => (await import("@kvant/bench")).serveLoadWorker());

endWithReader();
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed its own message; help and version are not failures.
    process.exitCode = error.exitCode;
  } else {
    say(
      `kvant: ${error instanceof Error ? error.message : error} [${isSystemError(error) ? error.code : errorCode(error)}]`,
    );
    const isBug = errorCode(error) === "INTERNAL" && !isSystemError(error);
    if (isBug && error instanceof Error) say(error.stack ?? "");
    process.exitCode = 1;
  }
}
