import { Type } from "typebox";

export const usageSchema = Type.Object({
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer(),
  total_tokens: Type.Integer(),
  prompt_tokens_details: Type.Object({
    cached_tokens: Type.Integer({ description: "Prompt tokens found in the prefix cache." }),
  }),
});

export const errorSchema = Type.Object(
  {
    error: Type.Object({
      message: Type.String(),
      type: Type.String(),
      param: Type.Union([Type.String(), Type.Null()]),
      code: Type.String(),
    }),
  },
  { description: "What was wrong: field, value and limit in `message`." },
);

/** Documents every 4xx and 5xx of a route in OpenAI's error shape. */
export const errorAnswers = { "4xx": errorSchema, "5xx": errorSchema };
