import { serveLoadWorker } from "../load-worker.ts";

serveLoadWorker();
