import { testDrawnInChromium } from "../../../packages/report/src/testing/drawn-in-chromium.ts";
import { overlayPage } from "./overlay-page.ts";
import { sampleLoadResult } from "./testing/sample-load-result.ts";

testDrawnInChromium(
  "every curve of an overlay is drawn in Chromium",
  () => overlayPage([sampleLoadResult(), sampleLoadResult({ slowness: 2 })]),
  { count: 4, fewestColoredPixels: 300 },
);
