import { KvantError } from "@kvant/core";
import type { TSchema } from "typebox";
import { Compile, type Validator } from "typebox/compile";

/**
 * What is wrong with a value that a schema has refused, as a sentence. Walks down to the first part at fault with one compiled
 * check per level: TypeBox's own list of errors builds an object for every bad element, which takes seconds for a list as
 * long as a request body may hold.
 */
export function schemaFault(schema: TSchema, value: unknown, path = ""): KvantError {
  const part = listFault(schema, value, path) ?? objectFault(schema, value, path);
  if (part !== undefined) return part;
  const subject = path === "" ? "the request body" : path;
  const message = `${subject} is ${shorten(value)}; it must be ${accepted(schema, value)}`;
  return new KvantError("REQUEST_INVALID", message, path === "" ? {} : { field: path });
}

function listFault(schema: TSchema, value: unknown, path: string): KvantError | undefined {
  const items = keyword(schema, "items");
  if (!isSchema(items) || !Array.isArray(value) || sizeFault(schema, value.length) !== undefined) return undefined;
  const check = checkOf(items);
  const index = value.findIndex((item) => !check(item));
  return index < 0 ? undefined : schemaFault(items, value[index], `${path}[${index}]`);
}

function objectFault(schema: TSchema, value: unknown, path: string): KvantError | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const required = keyword(schema, "required");
  const missing: unknown = Array.isArray(required) && required.find((name) => !Object.hasOwn(value, name));
  if (typeof missing === "string") {
    const field = path === "" ? missing : `${path}.${missing}`;
    return new KvantError("REQUEST_INVALID", `${field} is missing; it is required`, { field });
  }
  if (sizeFault(schema, Object.keys(value).length) !== undefined) return undefined;
  // A record's only pattern stands for each of its keys.
  const [record] = Object.values(Object(keyword(schema, "patternProperties")));
  const properties = Object(keyword(schema, "properties"));
  for (const [name, inner] of Object.entries(value)) {
    const innerSchema: unknown = Object.hasOwn(properties, name) ? properties[name] : record;
    if (!isSchema(innerSchema) || inner === undefined || checkOf(innerSchema)(inner)) continue;
    const step = /^\d+$/.test(name) ? `[${name}]` : `${path === "" ? "" : "."}${name}`;
    return schemaFault(innerSchema, inner, path + step);
  }
  return undefined;
}

/** What a schema takes in place of a value whose parts, if it has any, are right. */
function accepted(schema: TSchema, value: unknown): string {
  const description = keyword(schema, "description");
  if (keyword(schema, "anyOf") !== undefined && typeof description === "string") return description;
  if (Array.isArray(value)) return sizeFault(schema, value.length) ?? typeNames(schema);
  if (typeof value === "object" && value !== null) {
    return sizeFault(schema, Object.keys(value).length) ?? typeNames(schema);
  }
  const [error] = compile(schema).Errors(value);
  const limit: unknown = Reflect.get(Object(error?.params), "limit");
  switch (error?.keyword) {
    case "minimum":
      return `at least ${limit}`;
    case "maximum":
      return `at most ${limit}`;
    case "exclusiveMinimum":
      return `greater than ${limit}`;
    case "minLength":
      return `at least ${limit} character${limit === 1 ? "" : "s"} long`;
    case "maxLength":
      return `at most ${limit} characters long`;
    case "enum":
      return `one of ${[keyword(schema, "enum")].flat().map(quote).join(", ")}`;
    default:
      return typeNames(schema);
  }
}

function sizeFault(schema: TSchema, size: number): string | undefined {
  const [minItems, maxItems, maxProperties] = ["minItems", "maxItems", "maxProperties"].map((name) => {
    const bound = keyword(schema, name);
    return typeof bound === "number" ? bound : undefined;
  });
  if (minItems !== undefined && size < minItems) return `a list of at least ${minItems}`;
  if (maxItems !== undefined && size > maxItems) return `a list of at most ${maxItems}`;
  if (maxProperties !== undefined && size > maxProperties) return `an object of at most ${maxProperties} entries`;
  return undefined;
}

function typeNames(schema: TSchema): string {
  return [keyword(schema, "type")]
    .flat()
    .map((type) => (type === "null" ? "null" : `${/^[aeiou]/.test(String(type)) ? "an" : "a"} ${type}`))
    .join(" or ");
}

// Faults repeat the same few schemas; compiling one takes about a millisecond.
const compiled = new WeakMap<TSchema, Validator>();

function compile(schema: TSchema): Validator {
  const validator = compiled.get(schema) ?? Compile(schema);
  compiled.set(schema, validator);
  return validator;
}

function checkOf(schema: TSchema): (value: unknown) => boolean {
  const validator = compile(schema);
  return (value) => validator.Check(value);
}

function keyword(schema: TSchema, name: string): unknown {
  return Reflect.get(schema, name);
}

function isSchema(value: unknown): value is TSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function quote(value: unknown): string {
  return JSON.stringify(value) ?? "undefined";
}

/** A value as it stands in an error: long texts are cut and lists and objects named by size, since both hold prompts. */
export function shorten(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = quote(value);
  return text.length <= 48 ? text : `${text.slice(0, 32)}... (${text.length} characters)`;
}
