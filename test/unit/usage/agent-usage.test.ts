/** Use by department at one hospital: from its log and its ledger. */
import { describe, expect, it } from 'vitest';
import { agentUsage, agentUsageCsv, type UsageSources } from '../../../agent/usage.ts';
import { createPseudonyms } from '../../../agent/access/pseudonyms.ts';
import { createAuditLog } from '../../../shared/audit/audit-log.ts';
import { AppendLog } from '../../../shared/audit/log.ts';
import { systemClock } from '../../../shared/clock.ts';
import { DepartmentId, Pseudonym, QueryId, SiteId } from '../../../shared/ids.ts';
import { createApiKeys } from '../../../shared/http/api-keys.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { signerOf } from '../audit/export-fixture.ts';

const [north, south] = [SiteId.parse('north'), SiteId.parse('south')];
const icu = DepartmentId.parse('icu');

const reserved = (counter: number, sender: SiteId, atMs: number, units: string) => ({
  counter,
  hash: '',
  record: {
    type: 'reserved' as const,
    sender,
    queryId: QueryId.parse('0a'.repeat(16)),
    envelopeHash: '0b'.repeat(32),
    asker: Pseudonym.parse('0c'.repeat(16)),
    department: icu,
    day: 1,
    mechanisms: [],
    costs: { site_lifetime: units, asking_site_day: units, department_day: units, user_day: units },
    atMs,
  },
});
const ended = (counter: number, type: 'refunded' | 'committed', of: number) => ({
  counter,
  hash: '',
  record:
    type === 'refunded'
      ? { type, reserved: of, reason: 'queue_full' as const, atMs: 1 }
      : { type, reserved: of, atMs: 1 },
});

const sources = async (): Promise<UsageSources> => {
  const store = createMemoryStore();
  const log = await AppendLog.open({ store, prefix: 'a/', signer: signerOf('f/north', 3), create: true });
  const audit = createAuditLog({ log, source: 'north', clock: systemClock, random: secureRandomBytes });
  const pseudonyms = createPseudonyms(Buffer.alloc(32, 1));
  const apiKeys = createApiKeys({ store, prefix: 'k/', clock: systemClock, random: secureRandomBytes });
  await apiKeys.mint({ name: 'ann', role: 'doctor', department: icu, dataClass: 'internal' });
  const actor = pseudonyms.of({ name: 'ann' });
  await audit.record({ action: 'chat.asked', outcome: 'begun', actor });
  await audit.record({ action: 'chat.asked', outcome: 'ok', actor });
  await audit.record({ action: 'stats.asked', outcome: 'begun', actor });
  await audit.record({ action: 'stats.asked', outcome: 'begun', actor: pseudonyms.of({ name: 'gone' }) });
  const journal = [
    reserved(0, north, 500, '7'),
    ended(1, 'committed', 0),
    reserved(2, south, 1_500, '5000000000000000000'),
    ended(3, 'committed', 2),
    reserved(4, south, 1_600, '6'),
    ended(5, 'refunded', 4),
    reserved(6, north, Date.now() - 1, '11'),
  ];
  return {
    self: north,
    audit,
    apiKeys,
    pseudonyms,
    ledger: {
      // Pages of two: what became of a reservation may be on the page before it.
      history: ({ before = Infinity }) =>
        Promise.resolve(
          journal
            .filter(({ counter }) => counter < before)
            .toReversed()
            .slice(0, 2),
        ),
    },
  };
};

describe('use by department', () => {
  it('counts questions of one’s own people and charges of everybody’s', async () => {
    const report = await agentUsage(await sources(), 1_000, Date.now() + 1_000);
    expect(report.departments).toEqual([
      {
        site: 'north',
        department: 'icu',
        chatsAsked: 1,
        statisticsAsked: 1,
        queriesCharged: 1,
        queriesRefunded: 0,
        costUnits: '11',
      },
      {
        site: 'north',
        department: null,
        chatsAsked: 0,
        statisticsAsked: 1,
        queriesCharged: 0,
        queriesRefunded: 0,
        costUnits: '0',
      },
      {
        site: 'south',
        department: 'icu',
        chatsAsked: null,
        statisticsAsked: null,
        queriesCharged: 1,
        queriesRefunded: 1,
        costUnits: '5000000000000000000',
      },
    ]);
    expect(report.ledgerFrom).toBe(0);
    expect(agentUsageCsv(report).split('\r\n')).toHaveLength(5);
  });
});
