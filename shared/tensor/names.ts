/** Names that stand twice in one object of a JSON text: `JSON.parse` keeps the last and says nothing. */

/** Index after the string that begins at `from`. */
const endOfString = (text: string, from: number): number => {
  let at = from + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
};

/**
 * The first name that an object of this text has twice; undefined where there is none.
 * @param text that `JSON.parse` takes: so a string is a name where a colon follows it
 */
export const doubledName = (text: string): string | undefined => {
  const open: Set<string>[] = [];
  let last = '';
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') {
      const end = endOfString(text, at);
      last = text.slice(at, end);
      at = end - 1;
    } else if (character === '{') open.push(new Set());
    else if (character === '}') open.pop();
    else if (character === ':') {
      // Two spellings of one name (with and without escapes) are one name.
      const name = String(JSON.parse(last));
      if (open.at(-1)?.has(name) === true) return name;
      open.at(-1)?.add(name);
    }
  }
  return undefined;
};
