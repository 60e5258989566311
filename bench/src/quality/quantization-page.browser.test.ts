import { testDrawnInChromium } from "../../../packages/report/src/testing/drawn-in-chromium.ts";
import { quantizationPage } from "./quantization-page.ts";
import { sampleQuality, sampleQuantizationReport } from "./testing/sample-quantization-report.ts";

testDrawnInChromium(
  "every plot of a quantization's page is drawn in Chromium",
  () => quantizationPage(sampleQuantizationReport(), sampleQuality),
  { fewest: 31, fewestColoredPixels: 500 },
);
