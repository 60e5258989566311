import { KvantError } from "@kvant/core";

/** Reads the fields of a configuration object, each with its type and range; errors name file, field, value and range. */
export interface ConfigFields {
  readonly record: Readonly<Record<string, unknown>>;
  /** The value of a field that is present and not null. */
  has(name: string): boolean;
  integer(name: string, range: Range): number;
  number(name: string, range: Range): number;
  boolean(name: string, absent: boolean): boolean;
  /** A string, or `undefined` if the field is absent or null. */
  string(name: string): string | undefined;
  /** The fields of a nested object, or `undefined` if the field is absent or null. */
  nested(name: string): ConfigFields | undefined;
  /** A list of strings, empty if the field is absent or null. */
  strings(name: string): readonly string[];
  /** Throws CONFIG_INVALID: `<file>: <field> is <value>, not <expected>`. */
  fail(name: string, expected: string): never;
  /** Throws QUANTIZATION_UNSUPPORTED: `<file>: <field> is <value>, which is not read; <what is>`. */
  unsupported(name: string, read: string): never;
  /** @throws KvantError QUANTIZATION_UNSUPPORTED if a field that is not null has none of these names: it may change what others mean */
  only(names: readonly string[]): void;
}

/** Inclusive bounds. `absent` is the value of a field that is absent or null; without it the field is required. */
export interface Range {
  readonly min: number;
  readonly max: number;
  readonly absent?: number;
}

/** Fields of a record; `source` is the file they came from, `prefix` the path of a nested object in it. */
export function configFields(source: string, record: Readonly<Record<string, unknown>>, prefix = ""): ConfigFields {
  const has = (name: string) => record[name] !== undefined && record[name] !== null;
  const found = (name: string) => {
    const value = JSON.stringify(record[name]);
    return value === undefined ? "missing" : value.length > 80 ? `${value.slice(0, 80)}...` : value;
  };
  const fail = (name: string, expected: string): never => {
    const field = prefix + name;
    throw new KvantError("CONFIG_INVALID", `${source}: ${field} is ${found(name)}, not ${expected}`, { field });
  };
  const unsupported = (name: string, read: string): never => {
    const field = prefix + name;
    const sentence = `${source}: ${field} is ${found(name)}, which is not read; ${read}`;
    throw new KvantError("QUANTIZATION_UNSUPPORTED", sentence, { field });
  };
  const bounded = (name: string, { min, max, absent }: Range, kind: string, fits: (value: unknown) => boolean) => {
    if (!has(name) && absent !== undefined) return absent;
    const value = record[name];
    if (typeof value !== "number" || !fits(value) || value < min || value > max) {
      return fail(name, `${kind} from ${min} to ${max}`);
    }
    return value;
  };
  return {
    record,
    has,
    fail,
    unsupported,
    only(names) {
      const unknown = Object.keys(record).find((name) => has(name) && !names.includes(name));
      if (unknown !== undefined) unsupported(unknown, `known here are ${names.join(", ")}`);
    },
    strings(name) {
      if (!has(name)) return [];
      const value = record[name];
      const areStrings = Array.isArray(value) && value.every((each) => typeof each === "string");
      return areStrings ? value : fail(name, "a list of strings");
    },
    integer: (name, range) => bounded(name, range, "an integer", Number.isSafeInteger),
    number: (name, range) => bounded(name, range, "a number", Number.isFinite),
    boolean(name, absent) {
      if (!has(name)) return absent;
      const value = record[name];
      return typeof value === "boolean" ? value : fail(name, "true or false");
    },
    string(name) {
      if (!has(name)) return undefined;
      const value = record[name];
      return typeof value === "string" ? value : fail(name, "a string");
    },
    nested(name) {
      if (!has(name)) return undefined;
      const value = record[name];
      if (typeof value !== "object" || Array.isArray(value)) return fail(name, "an object");
      return configFields(source, value as Record<string, unknown>, `${prefix}${name}.`);
    },
  };
}
