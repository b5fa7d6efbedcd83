/**
 * How `extractive-local` counts: a token is a run of letters, marks and digits, or one other visible character,
 * together with the white space before it; white space at the very end is a token of its own. Joining the tokens of
 * a text gives the text.
 */
const TOKEN = /\s*(?:[\p{L}\p{M}\p{N}]+|[^\s\p{L}\p{M}\p{N}])|\s+$/gu;

export const tokensOf = (text: string): readonly string[] => text.match(TOKEN) ?? [];

export const countTokens = (text: string): number => {
  let count = 0;
  for (const _ of text.matchAll(TOKEN)) count += 1;
  return count;
};
