/** The page of this folder names tests that exist, and every file of mutants. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const root = new URL('../../', import.meta.url);
const pageUrl = new URL('test/mutants/README.md', root);
const page = existsSync(pageUrl) ? readFileSync(pageUrl, 'utf8') : '';
const named = [...page.matchAll(/`(test\/[\w/-]+\.test\.ts)` › "([^"]+)"/g)].map((match) => ({
  file: match[1] ?? '',
  title: match[2] ?? '',
}));

test('the page names tests', () => {
  expect(named.length).toBeGreaterThan(30);
});

test.each(named)('$file › $title', ({ file, title }) => {
  expect(readFileSync(new URL(file, root), 'utf8')).toContain(title);
});

test('every file of privacy mutants is on the page', () => {
  const files = readdirSync(new URL('test/mutants/', root)).filter((file) =>
    /^(privacy|ledger|stats|ask|event).*\.test\.ts$/.test(file),
  );
  expect(files.length).toBeGreaterThan(5);
  for (const file of files) expect(page).toContain(`test/mutants/${file}`);
});
