/** A raise that two people approved: in the log when it is in force, proven by the site's signature, used once, and not lost in a crash. */
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { createPseudonyms } from '../../../agent/access/pseudonyms.ts';
import { createBudgetRaise, RAISE_LABEL, raiseBytes } from '../../../agent/budget-raise.ts';
import { DEFAULT_LIMITS } from '../../../agent/budget/ledger.ts';
import { LedgerLimits } from '../../../agent/budget/limits.ts';
import type { Principal } from '../../../shared/access/principal.ts';
import type { AuditEvent } from '../../../shared/audit/audit-log.ts';
import { fromBase64, fromUtf8, utf8 } from '../../../shared/bytes.ts';
import { createIdentity, verifyHybrid } from '../../../shared/crypto/signature.ts';
import { QflError } from '../../../shared/errors.ts';
import { createApiKeys } from '../../../shared/http/api-keys.ts';
import { DepartmentId, Pseudonym } from '../../../shared/ids.ts';
import { secureRandomBytes as random } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { testClock } from './fixture.ts';

const Logged = z.object({
  digest: z.string(),
  sinceMs: z.number(),
  approvals: z.array(z.object({ person: Pseudonym, atMs: z.number() })),
  signature: z.unknown(),
});
const raised = (microEpsilon: number): LedgerLimits =>
  LedgerLimits.parse({
    ...DEFAULT_LIMITS,
    siteLifetime: { ...DEFAULT_LIMITS.siteLifetime, microEpsilon },
  });
const before = LedgerLimits.parse(DEFAULT_LIMITS);
const wish = raised(before.siteLifetime.microEpsilon + 1);

const world = async () => {
  const [store, clock, entries] = [createMemoryStore(), testClock(), [] as AuditEvent[]];
  const identity = createIdentity(Buffer.alloc(32, 3));
  const apiKeys = createApiKeys({ store, prefix: 'apikey/', clock, random });
  const pseudonyms = createPseudonyms(Buffer.alloc(32, 4));
  const department = DepartmentId.parse('icu');
  const people: Principal[] = [];
  for (const name of ['Ann', 'Ben']) {
    const { record } = await apiKeys.mint({ name, role: 'admin', department, dataClass: 'restricted' });
    people.push({ ...record, kind: 'key', sessionId: null, isRestricted: false });
  }
  clock.advance(1_000);
  const state = { limits: before, refuses: false };
  const ledger = {
    limits: () => state.limits,
    changeLimits(limits: LedgerLimits) {
      if (state.refuses) return Promise.reject(new QflError('ledger_refuses'));
      state.limits = limits;
      return Promise.resolve();
    },
  };
  const audit = {
    record(event: AuditEvent) {
      entries.push(event);
      return Promise.resolve({ index: 0, leafHash: new Uint8Array(0), id: '' });
    },
  };
  const open = () => createBudgetRaise({ store, ledger, audit, identity, clock, apiKeys, pseudonyms });
  return { store, entries, state, identity, people, open };
};
const outcomes = (entries: readonly AuditEvent[]): string[] =>
  entries.filter(({ action }) => action === 'budget.raised').map(({ outcome }) => outcome);

describe('a raise that two people approved', () => {
  test('is in the log when it is in force, with the approvals and the signature of the site', async () => {
    const { open, people, entries, state, identity } = await world();
    const raise = open();
    expect(await raise.allowed(wish)).toEqual(before);
    const { digest } = raise.pending()!;
    await raise.approve(digest, people[0]!);
    expect(outcomes(entries)).toEqual([]);
    const { signature } = await raise.approve(digest, people[1]!);
    expect([state.limits, outcomes(entries)]).toEqual([wish, ['begun', 'ok']]);
    const { signature: logged, ...said } = Logged.parse(JSON.parse(fromUtf8(entries.at(-1)!.detail!)));
    expect(logged).toEqual(signature);
    const [ed25519, mldsa65] = [fromBase64(signature!.ed25519), fromBase64(signature!.mldsa65)];
    expect(verifyHybrid(identity.publicKeys, RAISE_LABEL, raiseBytes(said), { ed25519, mldsa65 })).toBe(true);
  });

  test('that a crash kept from the ledger comes into force at the next start, and once', async () => {
    const { open, people, entries, state } = await world();
    const first = open();
    await first.allowed(wish);
    const { digest } = first.pending()!;
    await first.approve(digest, people[0]!);
    state.refuses = true;
    await expect(first.approve(digest, people[1]!)).rejects.toMatchObject({ code: 'ledger_refuses' });
    expect(outcomes(entries)).toEqual(['begun']);
    state.refuses = false;
    expect(await open().allowed(wish)).toEqual(wish);
    expect([state.limits, outcomes(entries)]).toEqual([wish, ['begun', 'begun', 'ok']]);
    state.limits = before;
    expect(await open().allowed(wish)).toEqual(before);
  });

  test('is over when something else is wished for in between', async () => {
    const { open, people, state } = await world();
    const first = open();
    await first.allowed(wish);
    const { digest } = first.pending()!;
    await first.approve(digest, people[0]!);
    state.refuses = true;
    await expect(first.approve(digest, people[1]!)).rejects.toThrow();
    state.refuses = false;
    expect(await open().allowed(before)).toEqual(before);
    const again = open();
    expect(await again.allowed(wish)).toEqual(before);
    expect(again.pending()?.approvedBy).toEqual([]);
  });

  test('is not taken from the store when the site did not sign it so', async () => {
    const { open, people, state, store } = await world();
    const first = open();
    await first.allowed(wish);
    const { digest } = first.pending()!;
    await first.approve(digest, people[0]!);
    state.refuses = true;
    await expect(first.approve(digest, people[1]!)).rejects.toThrow();
    state.refuses = false;
    const key = `budget-raise/${digest}`;
    const stored = JSON.parse(fromUtf8((await store.get(key))!)) as { sinceMs: number };
    const forged = utf8(JSON.stringify({ ...stored, sinceMs: stored.sinceMs + 1 }));
    await store.write([{ type: 'put', key, value: forged }]);
    expect(await open().allowed(wish)).toEqual(before);
    expect(state.limits).toEqual(before);
  });
});
