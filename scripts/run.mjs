// npm run build | check | ...: one task over the whole workspace.
import { prepare, turbo } from "./workspace.mjs";

const [task, ...args] = process.argv.slice(2);
prepare();
turbo(task, args);
