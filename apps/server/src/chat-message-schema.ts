import { limit } from "@kvant/core";
import { type Static, Type } from "typebox";
import { nullable } from "./request-schema.ts";

const contentPart = Type.Object({ type: Type.String(), text: Type.Optional(Type.String()) });

export const chatMessage = Type.Object({
  role: Type.Enum(["system", "developer", "user", "assistant", "tool"]),
  content: Type.Optional(
    nullable(Type.Union([Type.String(), Type.Array(contentPart)], { description: "a string or a list of text parts" })),
  ),
  name: Type.Optional(nullable(Type.String())),
});

export type ChatMessageBody = Static<typeof chatMessage>;

export const chatMessages = Type.Array(chatMessage, { minItems: 1, maxItems: limit("chatMessages") });
