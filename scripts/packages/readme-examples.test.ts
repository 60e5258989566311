import { expect, test } from "vitest";
import { installedNames, isShownOutput, readmeExamples } from "./readme-examples.ts";

const fence = "```";

test("the block after an example is what it prints, unless a heading stands between", () => {
  const shown = [`${fence}ts`, "console.log(1);", fence, "prints", fence, "1", fence].join("\n");
  expect(readmeExamples(shown)).toEqual([{ language: "ts", line: 2, code: "console.log(1);", output: "1" }]);
  const apart = [`${fence}ts`, "console.log(1);", fence, "## Tree", fence, "a/b", fence].join("\n");
  expect(readmeExamples(apart)[0]!.output).toBeUndefined();
});

test("comments right under console.log are its output, other comments are not", () => {
  const code = ["// a remark", "console.log(1);", "// 1", "", "// another", "console.log(2);", "// 2", "// two"];
  const [example] = readmeExamples([`${fence}ts`, ...code, fence].join("\n"));
  expect(example!.output).toBe("1\n2\ntwo");
});

test("shell blocks count only where their output is shown", () => {
  expect(readmeExamples([`${fence}sh`, "npm install x", fence].join("\n"))).toEqual([]);
  const [example] = readmeExamples([`${fence}sh`, "echo a", fence, "", `${fence}text`, "a", fence].join("\n"));
  expect(example).toEqual({ language: "sh", line: 2, code: "echo a", output: "a" });
});

test("three dots stand for anything within a line, and nothing else is a wildcard", () => {
  expect(isShownOutput("loaded in ... s", "loaded in 0.31 s\n")).toBe(true);
  expect(isShownOutput("loaded in ... s", "loaded in 0.31\n s\n")).toBe(false);
  expect(isShownOutput("[ 1.5 ]", "[ 1x5 ]")).toBe(false);
  expect(isShownOutput("a\nb", "a\nb\nc")).toBe(false);
});

test("the install line names what examples may import", () => {
  expect(installedNames("text\nnpm install -D @kvant/formats @kvant/core\n")).toEqual([
    "@kvant/formats",
    "@kvant/core",
  ]);
});
