import { Type } from "typebox";
import { describe, expect, test } from "vitest";
import { nullable, parserOf } from "./request-schema.ts";
import { shorten } from "./schema-fault.ts";

describe("parserOf", () => {
  const parse = parserOf(
    Type.Object({
      count: Type.Optional(nullable(Type.Integer({ minimum: 1, maximum: 8 }))),
      text: Type.Union([Type.String(), Type.Array(Type.String())], { description: "a string or a list of strings" }),
      turns: Type.Optional(Type.Array(Type.Object({ role: Type.Enum(["user", "system"]) }), { maxItems: 2 })),
    }),
  );

  test("hands on a value that fits, unknown fields included", () => {
    const value = { text: "x", count: null, extra: 1 };
    expect(parse(value)).toBe(value);
  });

  test.each([
    [{ text: "x", count: 0 }, "count", "count is 0; it must be at least 1"],
    [{ text: "x", count: 9 }, "count", "count is 9; it must be at most 8"],
    [{ text: "x", count: "1" }, "count", 'count is "1"; it must be an integer or null'],
    [{ text: 5 }, "text", "text is 5; it must be a string or a list of strings"],
    [{ text: ["a", 5] }, "text", "text is a list of 2; it must be a string or a list of strings"],
    [{}, "text", "text is missing; it is required"],
    [{ text: "x", turns: [{ role: "user" }, {}] }, "turns[1].role", "turns[1].role is missing; it is required"],
    [
      { text: "x", turns: [{ role: "me" }] },
      "turns[0].role",
      'turns[0].role is "me"; it must be one of "user", "system"',
    ],
    [{ text: "x", turns: [{}, {}, {}] }, "turns", "turns is a list of 3; it must be a list of at most 2"],
    [[], undefined, "the request body is an empty list; it must be an object"],
    [undefined, undefined, "the request body is undefined; it must be an object"],
  ])("says of %j what is wrong, where and what is accepted", (value, field, message) => {
    expect(() => parse(value)).toThrow(expect.objectContaining({ code: "REQUEST_INVALID", field, message }));
  });
});

describe("a fault in the largest list that a body can hold", () => {
  test.each([["text"], ["tokens"]])("is found without an error object for every element (%s)", (field) => {
    const parse = parserOf(
      Type.Object({
        text: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())], { description: "texts" })),
        tokens: Type.Optional(Type.Array(Type.Union([Type.Integer(), Type.Null()], { description: "ids" }))),
      }),
    );
    const bad = [...Array(500_000).fill(field === "text" ? "a" : 1), true];
    expect(() => parse({ [field]: bad })).toThrow(
      field === "text" ? "text is a list of 500001; it must be texts" : "tokens[500000] is true; it must be ids",
    );
  });
});

describe("shorten", () => {
  test("cuts long texts, and tells lists and objects only by their size", () => {
    expect(shorten("a".repeat(100))).toBe(`"${"a".repeat(31)}... (102 characters)`);
    expect(shorten(["secret"])).toBe("a list of 1");
    expect(shorten({ secret: 1 })).toBe("an object");
    expect(shorten(1.5)).toBe("1.5");
  });
});
