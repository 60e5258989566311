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
 * @throws KvantError INVALID_ARGUMENT if nothing answers, or if it lists no models and none is named; UNAUTHORIZED or FORBIDDEN if it
 * does not take the key
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
  if (models.status === 401 || models.status === 403) throw keyRefused(url, models.status, apiKey);
  const listed = listedModels(models.body);
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

interface ListedModel {
  readonly id: string;
  readonly owner: string | undefined;
  /** Kvant's own addition to the list of models. */
  readonly kvant: unknown;
}

/** What of a body is a list of models: servers of all kinds answer here, and some with their own idea of it. */
function listedModels(body: unknown): readonly ListedModel[] {
  const data = field(body, "data");
  if (!Array.isArray(data)) return [];
  return data.flatMap((entry: unknown) => {
    const [id, owner, kvant] = [text(field(entry, "id")), text(field(entry, "owned_by")), field(entry, "kvant")];
    return id === undefined ? [] : [{ id, owner, kvant }];
  });
}

/** As far as it is told. */
function reported(report: unknown): Omit<ServerDescription, "model" | "software"> {
  const classes = field(report, "tensor_classes");
  const head: unknown = Array.isArray(classes) ? classes.find((row) => field(row, "class") === "head") : undefined;
  const scheme = Object.entries({
    weights: field(report, "weights"),
    activations: field(report, "activations"),
    kvFormat: field(report, "kv_format"),
    device: field(report, "device"),
    tier: field(report, "tier"),
    headFormat: field(head, "format"),
  }).flatMap(([name, value]) => (typeof value === "string" ? [[name, value] as const] : []));
  const [vocabularySize, deterministic] = [field(report, "vocabulary_size"), field(report, "deterministic")];
  return {
    ...(scheme.length === 0 ? {} : { scheme: Object.fromEntries(scheme) }),
    ...(typeof vocabularySize === "number" ? { vocabularySize } : {}),
    ...(typeof deterministic === "boolean" ? { deterministic } : {}),
  };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
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
  const told = version.status === 200 ? text(field(version.body, "version")) : undefined;
  const owner = model?.kvant === undefined ? model?.owner : "kvant";
  const name = server === "llama.cpp" || owner === "llamacpp" ? "llama.cpp" : told === undefined ? server : owner;
  return [name, told].filter((part) => part !== undefined).join(" ") || undefined;
}

function keyRefused(url: string, status: 401 | 403, apiKey: string | undefined): KvantError {
  const wish =
    apiKey === undefined ? "wants an API key; give --api-key-file" : "does not take the key of --api-key-file";
  const code = status === 401 ? "UNAUTHORIZED" : "FORBIDDEN";
  return new KvantError(code, `${url}: the server ${wish} (/v1/models answers ${status})`, { field: "apiKey" });
}

function refused(reason: string, field = "url"): KvantError {
  return new KvantError("INVALID_ARGUMENT", reason, { field });
}
