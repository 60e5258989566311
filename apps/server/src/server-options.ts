export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";

export interface ServerOptions {
  /** Address to listen on. Default `127.0.0.1`. */
  readonly host?: string;
  /** HTTP port; 0 (the default) takes a free one. */
  readonly port?: number;
  /** gRPC port; 0 takes a free one, undefined serves no gRPC. */
  readonly grpcPort?: number;
  /** The model's name in requests and answers. Default: the name the engine reports. */
  readonly servedModelName?: string;
  /** Keys that open the API routes; see `readKeyFile`. */
  readonly apiKeys?: readonly string[];
  /** Keys that open every route. */
  readonly adminKeys?: readonly string[];
  readonly logger?: {
    /** Default `info`: one line per request. */
    readonly level?: LogLevel;
    /** Default: standard error. */
    readonly destination?: { write(line: string): void };
  };
  /** Adds the metric names of another server, so that its dashboards and routers work unchanged. */
  readonly metricsAlias?: "vllm";
  /** Version for /version, metrics and gRPC. Default: this package's. */
  readonly version?: string;
  /** Folder of the .proto files. Default: where `@kvant/proto` is installed. */
  readonly protoRoot?: string;
  /** Silence on a stream after which a comment goes out, so that proxies keep it open. Default 5000. */
  readonly keepAliveMilliseconds?: number;
}
