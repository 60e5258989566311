import { expect, test } from "vitest";
import { StopMatcher } from "./stop-matcher.ts";

test("text that may begin a stop string is held back until it is decided", () => {
  const matcher = new StopMatcher(["END"]);
  expect(matcher.push("the E")).toEqual({ text: "the ", stop: undefined });
  expect(matcher.push("N")).toEqual({ text: "", stop: undefined });
  expect(matcher.push("T")).toEqual({ text: "ENT", stop: undefined });
});

test("a stop string split over pieces is found and cut out with all that follows", () => {
  const matcher = new StopMatcher(["\n\n"]);
  expect(matcher.push("one\n")).toEqual({ text: "one", stop: undefined });
  expect(matcher.push("\ntwo")).toEqual({ text: "", stop: "\n\n" });
});

test("the earliest of several stop strings wins", () => {
  expect(new StopMatcher(["b", "a"]).push("xab")).toEqual({ text: "x", stop: "a" });
});

test("what is held back at the end belongs to the text", () => {
  const matcher = new StopMatcher(["END"]);
  matcher.push("an E");
  expect(matcher.finish()).toBe("E");
  expect(matcher.finish()).toBe("");
});

test("any split of a text yields the same text and the same stop", () => {
  const text = "aababaabaaab and abab";
  for (let cut = 0; cut <= text.length; cut++) {
    for (let second = cut; second <= text.length; second++) {
      const matcher = new StopMatcher(["abab", "aaa"]);
      let out = "";
      let stop: string | undefined;
      for (const piece of [text.slice(0, cut), text.slice(cut, second), text.slice(second)]) {
        if (stop !== undefined) break;
        const result = matcher.push(piece);
        out += result.text;
        stop = result.stop;
      }
      expect([out, stop]).toEqual(["a", "abab"]);
    }
  }
});
