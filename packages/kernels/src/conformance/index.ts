export { type DriverRow, greedy, StepDriver } from "./step-driver.ts";
