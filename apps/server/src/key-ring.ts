import { createHash, timingSafeEqual } from "node:crypto";
import { KvantError } from "@kvant/core";

/**
 * Who may call a route.
 * - `public`: anyone (liveness and readiness).
 * - `api`: any API or admin key, once a key of either kind is configured.
 * - `operations`: an admin key where admin keys are configured, else an API key where those are.
 */
export type Access = "public" | "api" | "operations";

/** Checks `Authorization: Bearer` values in a time that does not depend on how much of a key was guessed. */
export class KeyRing {
  readonly #apiKeys: readonly Buffer[];
  readonly #adminKeys: readonly Buffer[];

  constructor(apiKeys: readonly string[] = [], adminKeys: readonly string[] = []) {
    this.#apiKeys = apiKeys.map(digest);
    this.#adminKeys = adminKeys.map(digest);
  }

  /** Throws UNAUTHORIZED for a missing or unknown key, FORBIDDEN for an API key on an operational route. */
  check(authorization: string | undefined, access: Access): void {
    if (access === "public" || (this.#apiKeys.length === 0 && this.#adminKeys.length === 0)) return;
    const key = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
    if (key === undefined) {
      throw new KvantError("UNAUTHORIZED", "an API key is required in the header `Authorization: Bearer KEY`");
    }
    const candidate = digest(key);
    const isAdmin = holds(this.#adminKeys, candidate);
    const isApi = holds(this.#apiKeys, candidate);
    if (!isAdmin && !isApi) throw new KvantError("UNAUTHORIZED", "the API key is not known");
    if (access === "operations" && this.#adminKeys.length > 0 && !isAdmin) {
      throw new KvantError("FORBIDDEN", "this route takes an admin key; the key given is an API key");
    }
  }
}

// Digests are of one length, which timingSafeEqual needs, and hide the keys' own lengths.
function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

function holds(keys: readonly Buffer[], candidate: Buffer): boolean {
  let found = false;
  for (const key of keys) found = timingSafeEqual(key, candidate) || found;
  return found;
}
