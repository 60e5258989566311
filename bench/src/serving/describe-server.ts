import { KvantError } from "@kvant/core";

export interface DescribeServerOptions {
  /** `http://host:port`, a path before `/v1` kept; `grpc://host:port` of a Kvant server. */
  readonly url: string;
  readonly apiKey?: string;
  /** Absent: the first that the server lists. */
  readonly model?: string;
}

/** What a server says of itself; of software that is not Kvant most of it is absent. */
export interface ServerDescription {
  readonly model: string;
  readonly software?: string;
  /** `weights`, `activations`, `headFormat`, `kvFormat`, `device` and `tier`, as far as they are told. */
  readonly scheme?: { readonly [name: string]: string };
  readonly vocabularySize?: number;
  readonly deterministic?: boolean;
}

/** A server that does not answer in this time to so small a question will not stand a load. */
const patienceMilliseconds = 10_000;

/**
 * Asks a server for its models and its version.
 * @throws KvantError INVALID_ARGUMENT if nothing answers, or if it lists no models and none is named
 */
export async function describeServer(options: DescribeServerOptions): Promise<ServerDescription> {
  const { url, apiKey, model } = options;
  // gRPC is not there where the command line is one file on a machine without packages; only those who ask for it need it.
  if (url.startsWith("grpc://")) {
    return (await import("../client/describe-grpc-server.ts")).describeGrpcServer(options);
  }
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const models = await answerOf(`${url}/v1/models`, headers);
  if (models.failure !== undefined) throw refused(`${url}: nothing answers there (${models.failure})`);
  const listed = (models.body as ModelList | undefined)?.data ?? [];
  const named = model === undefined ? listed[0] : listed.find(({ id }) => id === model);
  const name = model ?? named?.id;
  if (name === undefined) {
    throw refused(`${url}: /v1/models answers ${models.status} and lists no model; name one with --model`, "model");
  }
  const version = await answerOf(`${url}/version`, headers);
  const software = softwareOf(named, version, models.server);
  return {
    model: name,
    ...(software === undefined ? {} : { software }),
    ...(named?.kvant === undefined ? {} : reported(named.kvant)),
  };
}

interface ModelList {
  readonly data?: readonly ListedModel[];
}

interface ListedModel {
  readonly id: string;
  readonly owned_by?: string;
  readonly kvant?: KvantReport;
}

/** Kvant's own addition to the list of models. */
interface KvantReport {
  readonly vocabulary_size: number;
  readonly weights: string;
  readonly activations: string;
  readonly kv_format: string;
  readonly device: string;
  readonly tier: string;
  readonly deterministic: boolean;
  readonly tensor_classes: readonly { readonly class: string; readonly format: string }[];
}

function reported(report: KvantReport): Omit<ServerDescription, "model" | "software"> {
  const { weights, activations, kv_format, device, tier, vocabulary_size, deterministic, tensor_classes } = report;
  const head = tensor_classes.find((row) => row.class === "head")?.format;
  return {
    scheme: {
      ...{ weights, activations, kvFormat: kv_format, device, tier },
      ...(head === undefined ? {} : { headFormat: head }),
    },
    vocabularySize: vocabulary_size,
    deterministic,
  };
}

interface Answer {
  readonly status?: number;
  /** Of JSON alone. */
  readonly body?: unknown;
  readonly server?: string;
  /** Why there was none. */
  readonly failure?: string;
}

async function answerOf(url: string, headers: Readonly<Record<string, string>>): Promise<Answer> {
  try {
    const answer = await fetch(url, { headers, signal: AbortSignal.timeout(patienceMilliseconds) });
    const text = await answer.text();
    const server = answer.headers.get("server");
    return { status: answer.status, body: parsed(text), ...(server === null ? {} : { server }) };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return { failure: cause instanceof Error ? cause.message || cause.name : String(cause) };
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `kvant 0.1.0`, `vllm 0.8.5`, `llama.cpp`: who owns the model, else the server header, and the version where it is told. */
function softwareOf(model: ListedModel | undefined, version: Answer, server: string | undefined): string | undefined {
  const number = (version.body as { readonly version?: unknown } | undefined)?.version;
  const told = version.status === 200 && typeof number === "string" ? number : undefined;
  const owner = model?.kvant === undefined ? model?.owned_by : "kvant";
  const name = server === "llama.cpp" || owner === "llamacpp" ? "llama.cpp" : told === undefined ? server : owner;
  return [name, told].filter((part) => part !== undefined).join(" ") || undefined;
}

function refused(reason: string, field = "url"): KvantError {
  return new KvantError("INVALID_ARGUMENT", reason, { field });
}
