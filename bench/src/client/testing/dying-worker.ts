import type { ToWorker } from "../worker-messages.ts";

/** A client process that is ready and dies as the load begins. */
process.on("message", ({ type }: ToWorker) => {
  if (type === "open") process.send?.({ type: "ready" });
  if (type === "start") process.exit(7);
});
process.on("disconnect", () => process.exit(0));
