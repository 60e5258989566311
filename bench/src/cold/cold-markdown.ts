import { escaped, markdownFacts, markdownTable } from "../results/load-markdown.ts";
import { coldCommand, coldFacts } from "./cold-page.ts";
import type { ColdResult } from "./cold-result.ts";
import { coldMedianTable, coldRunTable, coldSubject, evictionSentence } from "./cold-table.ts";

/** Cold and warm starts as Markdown: the tables of the page and the command that repeats them, no plots. */
export function coldMarkdown(result: ColdResult): string {
  const { model, warnings } = result;
  const parts = [
    `# ${escaped(model.id)} from its start to the first tokens`,
    `${escaped(coldSubject(result))}.`,
    markdownTable(coldMedianTable(result)),
    "## Every start",
    markdownTable(coldRunTable(result)),
    ...(warnings.length === 0 ? [] : [warnings.map((warning) => `- ${escaped(warning)}`).join("\n")]),
    "## The run",
    escaped(evictionSentence(result)),
    markdownFacts(coldFacts(result)),
    `\`\`\`sh\n${coldCommand(result)}\n\`\`\``,
  ];
  return `${parts.join("\n\n")}\n`;
}
