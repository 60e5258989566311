/**
 * The first key that stands twice in one object of a JSON text, or `undefined`. JSON.parse keeps the last of two equal keys
 * in silence, so a file could show one tensor to one reader and another to the next.
 * The text must already have passed JSON.parse.
 */
export function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // the keys of each open object; undefined for an array
  let expectsKey = false;
  for (let i = 0; i < json.length; i++) {
    switch (json[i]) {
      case "{":
        open.push(new Set());
        expectsKey = true;
        break;
      case "[":
        open.push(undefined);
        expectsKey = false;
        break;
      case "}":
      case "]":
        open.pop();
        expectsKey = false;
        break;
      case ",":
        expectsKey = open.at(-1) !== undefined;
        break;
      case '"': {
        const start = i;
        for (i++; json[i] !== '"'; i++) if (json[i] === "\\") i++;
        if (!expectsKey) break;
        // Two spellings of one key (`a` and `\u0061`) are the same key.
        const key: string = JSON.parse(json.slice(start, i + 1));
        const keys = open.at(-1)!;
        if (keys.has(key)) return key;
        keys.add(key);
        expectsKey = false;
        break;
      }
    }
  }
  return undefined;
}
