import { type Static, type TSchema, type TUnsafe, Type } from "typebox";
import { Compile } from "typebox/compile";
import { schemaFault } from "./schema-fault.ts";

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
    throw schemaFault(schema, value);
  };
}
