import { KvantError } from "@kvant/core";
import { type Static, type TSchema, type TUnsafe, Type } from "typebox";
import { Compile } from "typebox/compile";

/** The schema with `null` allowed too: OpenAI's clients send null for "use the default". */
export function nullable<Schema extends TSchema>(schema: Schema): TUnsafe<Static<Schema> | null> {
  const type = "type" in schema ? schema.type : undefined;
  if (typeof type === "string") return Type.Unsafe({ ...schema, type: [type, "null"] });
  return Type.Unsafe({ ...schema, anyOf: [...("anyOf" in schema ? [schema.anyOf].flat() : []), { type: "null" }] });
}

/**
 * Compiles a schema to a function that passes a value on as what the schema describes. It throws REQUEST_INVALID with a
 * sentence: field, offending value, what is accepted.
 */
export function parserOf<Schema extends TSchema>(schema: Schema): (value: unknown) => Static<Schema> {
  const compiled = Compile(schema);
  return (value) => {
    if (compiled.Check(value)) return value;
    throw describeFault(schema, value, compiled.Errors(value));
  };
}

interface Fault {
  readonly keyword: string;
  /** JSON pointers: where in the schema, where in the value. */
  readonly schemaPath: string;
  readonly instancePath: string;
  readonly params: object;
  readonly message: string;
}

function describeFault(schema: TSchema, value: unknown, faults: readonly Fault[]): KvantError {
  // A union reports each of its branches before itself; only the union's own line says what is accepted in all.
  const first = faults[0];
  if (first === undefined) return new KvantError("REQUEST_INVALID", "the request body does not match its schema");
  const union = faults.find(
    ({ keyword, schemaPath }) => keyword === "anyOf" && first.schemaPath.startsWith(`${schemaPath}/anyOf`),
  );
  const fault = union ?? first;
  const missing = missingProperty(fault, value);
  if (missing !== undefined) {
    return new KvantError("REQUEST_INVALID", `${missing} is missing; it is required`, { field: missing });
  }
  const field = fieldName(fault.instancePath);
  const found = shorten(at(value, fault.instancePath));
  const subject = field === "" ? `the request body is ${found}` : `${field} is ${found}`;
  return new KvantError(
    "REQUEST_INVALID",
    `${subject}; it must be ${accepted(fault, schema)}`,
    field === "" ? {} : { field },
  );
}

function missingProperty(fault: Fault, value: unknown): string | undefined {
  if (fault.keyword !== "required") return undefined;
  const owner = at(value, fault.instancePath);
  const required: unknown = Reflect.get(fault.params, "requiredProperties");
  if (!Array.isArray(required) || typeof owner !== "object" || owner === null) return undefined;
  const name: unknown = required.find((property) => !Object.hasOwn(owner, property));
  return typeof name === "string" ? fieldName(`${fault.instancePath}/${name}`) : undefined;
}

function accepted(fault: Fault, schema: TSchema): string {
  const limit: unknown = Reflect.get(fault.params, "limit");
  switch (fault.keyword) {
    case "type":
      return [Reflect.get(fault.params, "type")].flat().map(withArticle).join(" or ");
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
    case "minItems":
      return `a list of at least ${limit}`;
    case "maxItems":
      return `a list of at most ${limit}`;
    case "maxProperties":
      return `an object of at most ${limit} entries`;
    case "const":
      return JSON.stringify(Reflect.get(fault.params, "allowedValue"));
    case "enum":
      return `one of ${[Reflect.get(fault.params, "allowedValues")].flat().map(quote).join(", ")}`;
    default: {
      const description: unknown = Reflect.get(Object(at(schema, fault.schemaPath.slice(1))), "description");
      return typeof description === "string" ? description : fault.message;
    }
  }
}

function withArticle(type: unknown): string {
  if (type === "null") return "null";
  return `${/^[aeiou]/.test(String(type)) ? "an" : "a"} ${type}`;
}

function quote(value: unknown): string {
  return JSON.stringify(value) ?? "undefined";
}

/** `/messages/0/role` -> `messages[0].role`. */
function fieldName(pointer: string): string {
  return pointerParts(pointer)
    .map((part, index) => (/^\d+$/.test(part) ? `[${part}]` : `${index === 0 ? "" : "."}${part}`))
    .join("");
}

function at(value: unknown, pointer: string): unknown {
  return pointerParts(pointer).reduce<unknown>(
    (inner, part) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, part) : undefined),
    value,
  );
}

function pointerParts(pointer: string): string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** A value as it stands in an error: long texts are cut and lists and objects named by size, since both hold prompts. */
export function shorten(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = quote(value);
  return text.length <= 48 ? text : `${text.slice(0, 32)}... (${text.length} characters)`;
}
