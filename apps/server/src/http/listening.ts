import type { HttpApp } from "./route-registration.ts";

/** Time for last bytes to reach readers before their connections are cut. */
const closeGraceMilliseconds = 500;

/** `http://HOST:PORT` of a listening app. */
export function httpUrl(app: HttpApp): string {
  const address = app.server.address();
  if (address === null || typeof address === "string") return String(address);
  return `http://${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`;
}

/** Closes the app; a reader that does not take its last bytes is cut off. */
export async function closeHttp(app: HttpApp): Promise<void> {
  const cut = setTimeout(() => app.server.closeAllConnections(), closeGraceMilliseconds);
  await app.close();
  clearTimeout(cut);
}
