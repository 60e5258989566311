import type { Backend } from "./backend.ts";
import { createReferenceBackend } from "./reference/reference-backend.ts";

/** A backend that is here, or why it is not. */
export type BackendPresence =
  | { readonly name: string; readonly create: () => Backend; readonly reason: undefined }
  | { readonly name: string; readonly create: undefined; readonly reason: string };

/** Every backend and tier that Kvant knows, each absent one with its reason. */
export function availableBackends(): readonly BackendPresence[] {
  return [{ name: "reference", create: createReferenceBackend, reason: undefined }];
}
