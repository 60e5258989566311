import { type Client, credentials, loadPackageDefinition, type Metadata, makeClientConstructor } from "@grpc/grpc-js";
import { type AnyDefinition, loadFileDescriptorSetFromBuffer, type PackageDefinition } from "@grpc/proto-loader";

// Field 1 of FileDescriptorSet, length-delimited (protobuf wire format).
const fileTag = 0x0a;

const loaderOptions = { longs: Number, enums: String, defaults: true, arrays: true, objects: true, oneofs: true };

// The reflection protocol's own descriptor, which a client must know beforehand: request {file_containing_symbol = 4,
// list_services = 7}, response {file_descriptor_response = 4, list_services_response = 6}.
const reflectionMethod = {
  ServerReflectionInfo: {
    path: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    requestStream: true,
    responseStream: true,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};

/** Asks a server for the files that define a symbol. */
function fileDescriptors(address: string, symbol: string, metadata: Metadata): Promise<readonly Buffer[]> {
  const Reflection = makeClientConstructor(reflectionMethod, "ServerReflection");
  const client = new Reflection(address, credentials.createInsecure());
  const call = client.makeBidiStreamRequest(
    reflectionMethod.ServerReflectionInfo.path,
    (bytes: Buffer) => bytes,
    (bytes: Buffer) => bytes,
    metadata,
  );
  return new Promise<readonly Buffer[]>((resolve, reject) => {
    call.on("error", reject);
    call.on("data", (response: Buffer) => {
      resolve(field(field(response, 4)[0] ?? Buffer.alloc(0), 1));
      call.end();
    });
    const name = Buffer.from(symbol);
    // Field 4, file_containing_symbol, length-delimited.
    call.write(Buffer.concat([Buffer.from([0x22, name.length]), name]));
  }).finally(() => client.close());
}

/** Payloads of a length-delimited field of a message, in order. */
function field(message: Buffer, wanted: number): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < message.length; ) {
    const [tag, afterTag] = varint(message, at);
    if ((tag & 7) === 0) {
      at = varint(message, afterTag)[1];
      continue;
    }
    const [length, start] = varint(message, afterTag);
    if (tag >>> 3 === wanted) found.push(message.subarray(start, start + length));
    at = start + length;
  }
  return found;
}

function varint(message: Buffer, at: number): [value: number, next: number] {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = message[at++]!;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return [value, at];
  }
}

/** The definitions of a service as its server describes them, with nothing read from this repository. */
export async function reflect(address: string, service: string, metadata: Metadata): Promise<PackageDefinition> {
  const files = await fileDescriptors(address, service, metadata);
  const set = Buffer.concat(files.flatMap((file) => [Buffer.from([fileTag]), encodeVarint(file.length), file]));
  return loadFileDescriptorSetFromBuffer(set, loaderOptions);
}

function encodeVarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** A client of a service, made from what the server says of itself. */
export async function reflectedClient(address: string, service: string, metadata: Metadata): Promise<Client> {
  const definition: AnyDefinition | undefined = (await reflect(address, service, metadata))[service];
  if (definition === undefined || "format" in definition) throw new Error(`the server does not describe ${service}`);
  const Constructor = loadPackageDefinition({ Service: definition }).Service;
  if (typeof Constructor !== "function") throw new Error(`${service} is not a service`);
  return new Constructor(address, credentials.createInsecure());
}
