import { KvantError } from "@kvant/core";

interface StreamFields {
  readonly stream?: boolean | null;
  readonly stream_options?: { readonly include_usage?: boolean | null } | null;
}

/** Throws REQUEST_INVALID for stream options on an answer that is not streamed. */
export function checkStreamOptions({ stream, stream_options }: StreamFields): void {
  if (stream_options === undefined || stream_options === null || stream === true) return;
  throw new KvantError("REQUEST_INVALID", "stream_options is an object; it must be absent unless stream is true", {
    field: "stream_options",
  });
}

export function includeUsage({ stream_options }: StreamFields): boolean {
  return stream_options?.include_usage === true;
}
