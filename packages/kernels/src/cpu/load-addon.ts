import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { KvantError } from "@kvant/core";
import { NATIVE_ABI, type NativeAddon } from "./native-addon.ts";

const addonFile = join("native", "dist", "kvant.node");

/** What the loader looks at; tests put their own in its place. */
export interface AddonSearch {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly platform: string;
  readonly architecture: string;
  /** The folder whose ancestors may hold a build. */
  readonly folder: string;
  /** Loads a file or package by its name. */
  readonly load: (name: string) => unknown;
}

let loaded: NativeAddon | KvantError | undefined;

/**
 * The native addon, loaded once per process. Tried in this order:
 * 1. the file that the environment variable KVANT_NATIVE names; nothing else is tried when it is set;
 * 2. the package `@kvant/native-<platform>-<arch>`;
 * 3. `native/dist/kvant.node` in the nearest folder above this file that holds one (a clone of the repository).
 * @throws KvantError NATIVE_NOT_FOUND with every failure and what to do
 */
export function loadAddon(): NativeAddon {
  if (loaded === undefined) {
    try {
      loaded = findAddon({
        environment: process.env,
        platform: process.platform,
        architecture: process.arch,
        folder: dirname(fileURLToPath(import.meta.url)),
        load: createRequire(import.meta.url),
      });
    } catch (error) {
      if (!(error instanceof KvantError)) throw error;
      loaded = error;
    }
  }
  if (loaded instanceof KvantError) throw loaded;
  return loaded;
}

/** The search behind `loadAddon`, without its memory. */
export function findAddon(search: AddonSearch): NativeAddon {
  const failures: string[] = [];
  const attempt = (name: string): NativeAddon | undefined => {
    try {
      return checkAddon(search.load(name));
    } catch (error) {
      failures.push(`${name}: ${firstLine(error)}`);
      return undefined;
    }
  };
  const named = search.environment.KVANT_NATIVE;
  if (named !== undefined && named !== "") {
    const addon = attempt(resolve(named));
    if (addon !== undefined) return addon;
    throw notFound(failures, "Unset KVANT_NATIVE, or let it name a kvant.node built for this version.");
  }
  const fromPackage = attempt(`@kvant/native-${search.platform}-${search.architecture}`);
  if (fromPackage !== undefined) return fromPackage;
  const built = nearestBuild(search.folder);
  if (built === undefined) failures.push(`${addonFile}: in no folder from ${search.folder} up`);
  const fromBuild = built === undefined ? undefined : attempt(built);
  if (fromBuild !== undefined) return fromBuild;
  throw notFound(
    failures,
    `Install @kvant/native-${search.platform}-${search.architecture}, or build it in a clone of the repository with ` +
      `"npm run build" (CMake and a C++20 compiler), or use the reference backend.`,
  );
}

function checkAddon(module: unknown): NativeAddon {
  const abi = typeof module === "object" && module !== null && "abi" in module ? module.abi : undefined;
  if (abi === NATIVE_ABI) return module as NativeAddon;
  throw new KvantError(
    "NATIVE_NOT_FOUND",
    `has interface version ${abi}; this package needs ${NATIVE_ABI}: build it anew`,
  );
}

function nearestBuild(folder: string): string | undefined {
  for (let current = folder; ; current = dirname(current)) {
    const candidate = join(current, addonFile);
    if (existsSync(candidate)) return candidate;
    if (dirname(current) === current) return undefined;
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}

function notFound(failures: readonly string[], advice: string): KvantError {
  const tried = failures.map((failure) => `\n  - ${failure}`).join("");
  return new KvantError("NATIVE_NOT_FOUND", `the native addon could not be loaded:${tried}\n${advice}`);
}
