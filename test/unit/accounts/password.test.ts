import { describe, expect, it } from 'vitest';
import { checkPassword, createPasswordHasher, passwordFaults } from '../../../coordinator/access/password.ts';
import { POLICY } from './fixture.ts';

const faults = (password: string, policy = POLICY) => passwordFaults(password, policy, 'nightingale');

describe('a password', () => {
  it.each([
    ['Nine green bottles, 9', 0],
    ['short1!A', 1],
    ['nine green bottles, 9', 1],
    ['NINE GREEN BOTTLES, 9', 1],
    ['Nine green bottles,', 1],
    ['Ninegreenbottles99', 1],
    ['Nightingale-2026!', 1],
    ['Football2026!!', 1],
    ['', 5],
  ])('%s has %i faults', (password, count) => {
    expect(faults(password)).toHaveLength(count);
  });

  it('is never shorter than eight, whatever the configuration says', () => {
    const lax = {
      lengthMin: 1,
      needsUppercase: false,
      needsLowercase: false,
      needsDigit: false,
      needsSpecial: false,
    };
    expect(faults('abcdefg', lax).join()).toContain('8 characters');
    expect(faults('zqxwvkjh', lax)).toEqual([]);
  });

  it('is told everything that is wrong at once', () => {
    expect(() => checkPassword('x', POLICY, 'alice')).toThrowError(
      /12 characters.*uppercase.*digit.*neither letter/,
    );
  });

  it('is kept as Argon2id with 19 MiB and two passes, and verified', async () => {
    const hasher = await createPasswordHasher();
    const hash = await hasher.hash('Nine green bottles, 9');
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(await hasher.verify('Nine green bottles, 9', hash)).toBe(true);
    expect(await hasher.verify('Nine green bottles, 8', hash)).toBe(false);
    expect(await hasher.verify('Nine green bottles, 9', null)).toBe(false);
    expect(await hasher.verify('x'.repeat(100_000), hash)).toBe(false);
  });
});
