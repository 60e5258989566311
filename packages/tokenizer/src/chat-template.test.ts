import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { sharedData } from "../test/shared-data.ts";
import { type ChatMessage, ChatTemplate } from "./chat-template.ts";

const render = (source: string, content: unknown = ""): string =>
  new ChatTemplate(source, {}).render([{ role: "user", content }], { addGenerationPrompt: false });

describe("strip with characters", () => {
  test.each([
    ["{{ messages[0].content.lstrip('\\n') }}|", "\n\n  a \n", "  a \n|"],
    ["{{ messages[0].content.rstrip('\\n') }}|", "\n a  \n\n", "\n a  |"],
    ["{{ messages[0].content.strip('-\\n') }}|", "-\n a -", " a |"],
    ["{{ messages[0].content.split('x')[-1].lstrip('\\n').rstrip() }}|", "1x\n 2 \n", " 2|"],
    ["{{ messages[0].content.strip() }}|", " \n a \n ", "a|"],
    ["{{ messages[0].content.strip('ab') }}|", "abba", "|"],
  ])("%s", (source, content, expected) => {
    expect(render(source, content)).toBe(expected);
  });

  test("refuses what is no string", () => {
    expect(() => render("{{ messages[0].content.lstrip(1) }}", "a")).toThrow(
      expect.objectContaining({ code: "REQUEST_INVALID" }),
    );
  });
});

test("templates see tools, further variables and their begin and end tokens", () => {
  const template = new ChatTemplate("{{ bos_token }}{{ tools | length }}{{ enable_thinking }}{{ eos_token }}", {
    bosToken: "<s>",
    eosToken: "</s>",
  });
  const options = { addGenerationPrompt: true, tools: [{}, {}], variables: { enable_thinking: "no", bos_token: "x" } };
  expect(template.render([], options)).toBe("<s>2no</s>");
});

interface Conversation {
  readonly name: string;
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly unknown[] | null;
  readonly add_generation_prompt: boolean;
}

/**
 * What the Jinja library cannot do yet, template by template: it then says so, and never renders something else. A change
 * of this list is a change of the library.
 */
const refusedByLibrary: Readonly<Record<string, number>> = {
  "Apriel-1.6-15b-Thinker-fixed.jinja": 2, // `string` of a mapping
  "ByteDance-Seed-OSS.jinja": 9, // integer keys
  "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja": 2, // `trim` of an undefined value
  "NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja": 2,
  "meetkai-functionary-medium-v3.1.jinja": 7, // `selectattr` of none
  "meetkai-functionary-medium-v3.2.jinja": 1, // unpacking of a tuple
  "openbmb-MiniCPM5-1B.jinja": 1, // `min`
  "unsloth-Apriel-1.5.jinja": 2,
};

/** Jinja2 refuses to write a generator as JSON where this library simply writes a list. */
const refusedByJinja2Only = "llama-cpp-deepseek-r1.jinja";

/** After `safe`, Jinja2 writes quotes that are added to it as `&#34;`; this library knows no markup and writes quotes. */
const escapedAfterSafe = "meetkai-functionary-medium-v3.1.jinja";

const { path: folder, missing } = sharedData("chat-templates");

describe.skipIf(missing)("published templates", () => {
  beforeEach(() => void vi.useFakeTimers({ now: new Date(2024, 6, 26, 12, 30) }));
  afterEach(() => void vi.useRealTimers());

  test("render every conversation as Jinja2 does, or say that they cannot", () => {
    const read = (name: string) => readFileSync(join(folder, name), "utf8");
    const { templates } = JSON.parse(read("expected.json")) as {
      templates: Record<string, Record<string, { text?: string; error?: string }>>;
    };
    const conversations = JSON.parse(read("conversations.json")) as Conversation[];
    const refused: Record<string, number> = {};
    for (const [name, expected] of Object.entries(templates)) {
      const template = new ChatTemplate(read(name), { bosToken: "<s>", eosToken: "</s>" });
      for (const conversation of conversations) {
        const { messages, tools } = conversation;
        const options = {
          addGenerationPrompt: conversation.add_generation_prompt,
          ...(tools === null ? {} : { tools }),
        };
        const expectedText = expected[conversation.name]!.text;
        const text = name === escapedAfterSafe ? expectedText?.replaceAll("&#34;", '"') : expectedText;
        let rendered: string | undefined;
        try {
          rendered = template.render(messages, options);
        } catch (error) {
          expect(error).toMatchObject({ code: "REQUEST_INVALID" });
        }
        if (rendered === undefined && text !== undefined) refused[name] = (refused[name] ?? 0) + 1;
        else if (text !== undefined || name !== refusedByJinja2Only) {
          expect(rendered, `${name}, ${conversation.name}`).toBe(text);
        }
      }
    }
    expect(refused).toEqual(refusedByLibrary);
  });
});
