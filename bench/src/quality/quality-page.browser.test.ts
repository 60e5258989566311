import { testDrawnInChromium } from "../../../packages/report/src/testing/drawn-in-chromium.ts";
import { qualityPage } from "./quality-page.ts";
import { sampleQualityResult } from "./testing/sample-quality-result.ts";

testDrawnInChromium("both Pareto plots are drawn in Chromium", () => qualityPage(sampleQualityResult()), {
  count: 2,
  fewestColoredPixels: 300,
});
