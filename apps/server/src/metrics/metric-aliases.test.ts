import { describe, expect, test } from "vitest";
import { aliasExposition } from "./metric-aliases.ts";

const exposition = `# HELP a_seconds Seconds of a.
# TYPE a_seconds histogram
a_seconds_bucket{le="1"} 2
a_seconds_bucket{le="+Inf"} 3
a_seconds_sum 4.5
a_seconds_count 3

# HELP a How many a.
# TYPE a gauge
a 7

# HELP b_total By kind.
# TYPE b_total counter
b_total{kind="x"} 1
`;

describe("aliasExposition", () => {
  test("repeats families under their aliases with the model's label", () => {
    const aliases = new Map([
      ["other:seconds", "a_seconds"],
      ["other:a", "a"],
      ["other:b_total", "b_total"],
    ]);
    expect(aliasExposition(exposition, aliases, "m")).toBe(`# HELP other:seconds Seconds of a.
# TYPE other:seconds histogram
other:seconds_bucket{model_name="m",le="1"} 2
other:seconds_bucket{model_name="m",le="+Inf"} 3
other:seconds_sum{model_name="m"} 4.5
other:seconds_count{model_name="m"} 3

# HELP other:a How many a.
# TYPE other:a gauge
other:a{model_name="m"} 7

# HELP other:b_total By kind.
# TYPE other:b_total counter
other:b_total{model_name="m",kind="x"} 1`);
  });

  test("escapes the model's name and leaves out what is not exposed", () => {
    const aliases = new Map([
      ["other:a", "a"],
      ["other:c", "c"],
    ]);
    expect(aliasExposition(exposition, aliases, 'a"b\\c')).toContain(String.raw`other:a{model_name="a\"b\\c"} 7`);
    expect(aliasExposition(exposition, aliases, "m")).not.toContain("other:c");
  });
});
