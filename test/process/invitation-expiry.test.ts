/** A day passes in no test of real processes: the life of an invitation, on a clock that is set. */
import { expect, test } from 'vitest';
import { createInvitations, INVITATION_LIFE_MS } from '../../coordinator/sites/invitations.ts';
import { DAY_MS } from '../../shared/clock.ts';
import { SiteId } from '../../shared/ids.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { parseJoinToken } from '../../shared/wire/join-token.ts';

const START_MS = Date.UTC(2026, 0, 1);

const invited = async () => {
  const clock = { atMs: START_MS, nowMs: () => clock.atMs, monotonicMs: () => clock.atMs };
  const invitations = createInvitations(
    createMemoryStore(),
    { fingerprint: new Uint8Array(32), tlsFingerprint: undefined },
    clock,
    secureRandomBytes,
  );
  const { token, expiresMs } = await invitations.create(SiteId.parse('late-hospital'), false);
  return { clock, invitations, expiresMs, tokenId: parseJoinToken(token).tokenId };
};

test('a token is good for 24 hours', async () => {
  const { clock, invitations, expiresMs, tokenId } = await invited();
  expect(expiresMs - START_MS).toBe(INVITATION_LIFE_MS);
  expect(INVITATION_LIFE_MS).toBe(DAY_MS);
  clock.atMs = expiresMs - 1;
  expect((await invitations.find(tokenId))?.site).toBe('late-hospital');
  expect(await invitations.list()).toHaveLength(1);
});
test('and for nothing after them, even when the clock is set back later', async () => {
  const { clock, invitations, expiresMs, tokenId } = await invited();
  clock.atMs = expiresMs;
  expect(await invitations.find(tokenId)).toBeUndefined();
  expect(await invitations.use(tokenId)).toBe(false);
  expect(await invitations.list()).toHaveLength(0);
  clock.atMs = START_MS - 2 * DAY_MS;
  expect(await invitations.find(tokenId)).toBeUndefined();
});
test('once', async () => {
  const { invitations, tokenId } = await invited();
  const uses = await Promise.all([invitations.use(tokenId), invitations.use(tokenId)]);
  expect(uses.filter(Boolean)).toHaveLength(1);
  expect(await invitations.find(tokenId)).toBeUndefined();
});
