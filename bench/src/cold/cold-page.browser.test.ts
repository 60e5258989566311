import { testDrawnInChromium } from "../../../packages/report/src/testing/drawn-in-chromium.ts";
import { coldPage } from "./cold-page.ts";
import { sampleColdResult } from "./testing/sample-cold-result.ts";

testDrawnInChromium("warm starts alone are drawn in Chromium", () => coldPage(sampleColdResult({ warmOnly: true })), {
  count: 3,
  fewestColoredPixels: 100,
});

testDrawnInChromium(
  "stretches, decode steps and the spread of the starts are drawn in Chromium",
  () => coldPage(sampleColdResult()),
  {
    count: 3,
    fewestColoredPixels: 100,
  },
);
