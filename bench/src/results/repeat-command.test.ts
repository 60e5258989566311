import { expect, test } from "vitest";
import { repeatCommand, serveArguments } from "./repeat-command.ts";

test("flags come back as a command line that a shell reads the same way", () => {
  const flags = {
    ...{ url: "http://127.0.0.1:8000", concurrency: "1,4", "ignore-eos": true, json: false, requests: 50 },
    ...{ "dataset-file": "it's a file.json", header: ["a: 1", "b"] },
  };
  expect(repeatCommand({ flags })).toBe(
    "kvant bench serve --url http://127.0.0.1:8000 --concurrency 1,4 --ignore-eos --requests 50 " +
      "--dataset-file 'it'\\''s a file.json' --header 'a: 1' --header b",
  );
});

test("what went to a server of its own follows after two dashes", () => {
  const flags = { requests: 5, [serveArguments]: ["--backend", "reference"] };
  expect(repeatCommand({ flags })).toBe("kvant bench serve --requests 5 -- --backend reference");
  expect(repeatCommand({ flags: { [serveArguments]: [] } })).toBe("kvant bench serve");
});
