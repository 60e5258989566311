import type { ChatMessage, PlannedPrompt } from "../../load/planned-request.ts";
import { invalidOption } from "../invalid-option.ts";
import { type Fields, isObject, shown } from "../json-values.ts";

/** `single`: one request for each entry, its first turn; `conversation`: all turns of it. */
export type EntryUse = "single" | "conversation";

/** What one entry of a file asks. */
export interface Asked {
  /** At least one; one for a single request. */
  readonly turns: readonly PlannedPrompt[];
  /** `[turns]` recorded answers, where the file has them. */
  readonly answers?: readonly string[];
}

const field = "datasetFile";
const lineFields = ["messages", "turns", "prompt", "text", "question"] as const;
const roles = ["system", "user", "assistant"] as const;
const askers = ["human", "user"];
const answerers = ["gpt", "chatgpt", "assistant", "model", "bard", "bing"];

/**
 * A line of prompts: `{"prompt"}` or `{"text"}` (strings), `{"question"}` (GSM8K), `{"turns": [string, …]}` (MT-Bench, Spec-Bench),
 * `{"messages": [{role, content}, …]}`. As a single request messages go as they stand, but for an answer at their end.
 * @param where `PATH: line N`
 * @throws KvantError INVALID_ARGUMENT
 */
export function askedByLine(value: unknown, where: string, use: EntryUse): Asked {
  const fields = fieldsOf(value, where);
  const name = lineFields.find((key) => fields[key] !== undefined);
  switch (name) {
    case undefined:
      throw invalidOption(field, `${where} has none of ${lineFields.join(", ")}: ${shown(value)}`);
    case "messages": {
      const messages = listOf(fields.messages, `${where}: messages`, messageOf);
      return { turns: use === "single" ? [wholeChat(messages, where)] : turnsOfChat(messages, where) };
    }
    case "turns": {
      const turns = listOf(fields.turns, `${where}: turns`, textPrompt);
      return { turns: use === "single" ? turns.slice(0, 1) : turns };
    }
    default:
      return { turns: [textPrompt(fields[name], `${where}: ${name}`)] };
  }
}

/**
 * An entry of ShareGPT: `{"conversations": [{"from": "human" | "gpt" | …, "value"}, …]}`. A turn is a question that is followed by
 * its answer; whatever else is said is left out.
 * @returns undefined where there is no such turn
 * @throws KvantError INVALID_ARGUMENT
 */
export function askedByShareGpt(value: unknown, where: string, use: EntryUse): Asked | undefined {
  const { conversations } = fieldsOf(value, where);
  if (Array.isArray(conversations) && conversations.length === 0) return undefined;
  const said = listOf(conversations, `${where}: conversations`, (entry, place) => {
    const { from, value: text } = fieldsOf(entry, place);
    if (typeof from === "string" && typeof text === "string") return { from, text };
    throw invalidOption(field, `${place} has no strings from and value: ${shown(entry)}`);
  });
  const exchanges = said.flatMap(({ from, text }, i) => {
    const answer = said[i + 1];
    const isExchange = askers.includes(from) && answer !== undefined && answerers.includes(answer.from);
    if (!isExchange || text.trim() === "" || answer.text.trim() === "") return [];
    return [{ question: text, answer: answer.text }];
  });
  if (exchanges.length === 0) return undefined;
  const used = use === "single" ? exchanges.slice(0, 1) : exchanges;
  return {
    turns: used.map(({ question }) => ({ kind: "text", text: question })),
    answers: used.map(({ answer }) => answer),
  };
}

function wholeChat(messages: readonly ChatMessage[], where: string): PlannedPrompt {
  const lastQuestion = messages.findLastIndex(({ role }) => role !== "assistant");
  if (lastQuestion === -1) throw invalidOption(field, `${where}: messages holds answers alone`);
  return { kind: "chat", messages: messages.slice(0, lastQuestion + 1) };
}

/** One turn for each message of the user, with the system's before it; the server's own answers take the place of the recorded ones. */
function turnsOfChat(messages: readonly ChatMessage[], where: string): readonly PlannedPrompt[] {
  const turns: PlannedPrompt[] = [];
  let said: ChatMessage[] = [];
  for (const message of messages) {
    if (message.role === "assistant") continue;
    said.push(message);
    if (message.role === "system") continue;
    turns.push({ kind: "chat", messages: said });
    said = [];
  }
  if (turns.length === 0) throw invalidOption(field, `${where}: messages holds none of a user`);
  return turns;
}

function messageOf(value: unknown, where: string): ChatMessage {
  const { role: name, content } = fieldsOf(value, where);
  const role = roles.find((known) => known === name);
  if (role !== undefined && typeof content === "string") return { role, content };
  const sentence = `${where} has not a role of ${roles.join(", ")} and a string as content: ${shown(value)}`;
  throw invalidOption(field, sentence);
}

function textPrompt(value: unknown, where: string): PlannedPrompt {
  if (typeof value === "string" && value.trim() !== "") return { kind: "text", text: value };
  throw invalidOption(field, `${where} is ${shown(value)}, not a text`);
}

function listOf<T>(value: unknown, where: string, read: (entry: unknown, where: string) => T): readonly T[] {
  if (Array.isArray(value) && value.length > 0) return value.map((entry, i) => read(entry, `${where}[${i}]`));
  throw invalidOption(field, `${where} is ${shown(value)}, not a list with something in it`);
}

function fieldsOf(value: unknown, where: string): Fields {
  if (isObject(value)) return value;
  throw invalidOption(field, `${where} is ${shown(value)}, not an object`);
}
