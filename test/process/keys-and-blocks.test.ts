/** Unknown keys and data blocks through the command and the API of real programs: told, charged, refused, retired. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { hospitalResources } from '../../agent/records/sample.ts';
import { StatsPrice, StatsResult } from '../../shared/wire/stats.ts';
import { eventually, qfl, qflJson } from '../fixtures/processes.ts';
import { call, type Federation, type Site, startFederation } from './federation.ts';

const PATIENTS = 120;
const FIRST = '2000-01';
/** An interval misses the truth about once in a million. */
const CONFIDENCE = String(1 - 1e-6);

const Encounter = z.looseObject({
  resourceType: z.literal('Encounter'),
  subject: z.object({ reference: z.string() }),
  period: z.looseObject({ start: z.string() }),
});

/** Patient records of a generated hospital by the month of their first admission. */
const byMonth = (site: string): ReadonlyMap<string, number> => {
  const first = new Map<string, string>();
  for (const raw of hospitalResources({ site, patients: PATIENTS })) {
    const { data } = Encounter.safeParse(raw);
    if (data === undefined) continue;
    const month = data.period.start.slice(0, 7);
    const known = first.get(data.subject.reference);
    if (known === undefined || month < known) first.set(data.subject.reference, month);
  }
  const counts = new Map<string, number>();
  for (const month of first.values()) counts.set(month, (counts.get(month) ?? 0) + 1);
  return counts;
};

let federation: Federation;
let north: Site;
let key: string;

const target = (): string[] => ['--url', north.url, '--key', key, '--confidence', CONFIDENCE];
const stats = (...options: string[]): Promise<StatsResult> =>
  qflJson(StatsResult, ['query', 'stats', ...options, '--epsilon', '1', ...target()]);
const KEYS = ['--cohort', 'Patient', '--keys', 'status take 1 blind of Condition', '--delta', '1e-9'];

beforeAll(async () => {
  federation = await startFederation({
    sites: [
      {
        name: 'north',
        config: `privacy: {threshold_delta_share: 0.1, data_blocks: admission_month, data_block_first: ${FIRST}}`,
      },
      { name: 'south' },
    ],
    logLevel: 'warn',
  });
  for (const { name, home } of federation.sites) {
    const sample = join(federation.folder, `sample-${name}`);
    await qfl(['agent', 'sample', sample, '--site', name, '--patients', String(PATIENTS)]);
    await qfl(['agent', 'import', join(sample, 'fhir'), '--home', home]);
  }
  north = federation.site('north');
  key = await north.key('doctor', 'emergency');
  await eventually('all hold records', async () =>
    (await north.status()).sites?.every(({ online, records }) => online && records),
  );
});
afterAll(() => federation.close());

describe('keys that only the records know', () => {
  test('are priced with the delta of each ledger before anything is charged', async () => {
    const price = await qflJson(StatsPrice, [
      'query',
      'stats',
      ...KEYS,
      '--epsilon',
      '1',
      '--dry-run',
      ...target(),
    ]);
    expect(price.fits).toBe(true);
    expect(price.blocks?.from).toBe(FIRST);
    expect(price.measures[0]!.releases[0]!.delta).toBeLessThanOrEqual(1e-9 * (1 + 1e-9));
    for (const { deltaBudget, deltaCost, deltaAfter } of price.ledgers) {
      expect(deltaCost).toBeGreaterThan(0);
      expect(deltaAfter).toBeLessThan(deltaBudget!);
    }
  });

  test('are told by a site that reserves a delta, and refused by one that does not', async () => {
    const result = await stats(...KEYS);
    const [table] = result.measures;
    if (table?.measure !== 'keyed_table') throw new Error('expected a table of unknown keys');
    expect(table.cells.find(({ bins }) => bins[0] === 'active')?.toldBy).toBe(1);
    expect(table.hidden).toHaveLength(1);
    expect(result.complete).toBe(false);
    expect(result.sites.find(({ site }) => site === 'south')).toMatchObject({
      status: 'refused',
      code: 'budget_exceeded',
      facts: { setting: 'privacy.threshold_delta_share' },
    });
    const { body } = await north.asOperator('/privacy/history?limit=5');
    expect(JSON.stringify(body)).toMatch(/"delta":"[1-9]\d*"/);
    const codes = ['--cohort', 'Patient', '--keys', 'code take 4 blind of Condition', '--sites', 'north'];
    const { out } = await qfl(['query', 'stats', ...codes, '--epsilon', '0.5', ...target()]);
    expect(out).toContain('Hidden at each site');
  });
});

describe('admission months', () => {
  const months = byMonth('north');
  const [[busiest, truth] = ['', 0]] = [...months].toSorted((left, right) => right[1] - left[1]);
  const ofMonth = ['--cohort', 'Patient', '--blocks', busiest, '--sites', 'north'];

  test('that are named are read alone', async () => {
    const result = await stats(...ofMonth);
    const [count] = result.measures;
    if (count?.measure !== 'count') throw new Error('expected a count');
    // Some patients of the month opted out, and linked records count once.
    expect(Number(count.interval?.low)).toBeLessThanOrEqual(truth);
    const all = (await stats('--cohort', 'Patient', '--sites', 'north')).measures[0];
    if (all?.measure !== 'count') throw new Error('expected a count');
    expect(Number(all.value)).toBeGreaterThan(Number(count.interval?.high));
  });

  test('that are retired are refused by name, and left out where none is named', async () => {
    await north.program.stop();
    const retired = await qfl([
      'agent',
      'ledger',
      'retire-block',
      busiest,
      '--by',
      'Dr Admin',
      '--reason',
      'used up',
      '--home',
      north.home,
    ]);
    expect(retired.out).toContain(`${busiest} is retired`);
    await north.restart();
    key = await north.key('doctor', 'emergency', undefined, 'again');
    // Only whoever runs the site learns how many stand where.
    const { body: ofOperator } = await north.asOperator('/status');
    expect(ofOperator).toMatchObject({ dataBlocks: { personsInSeveral: 0, blocksPerPersonMost: 1 } });
    expect((await call(`${north.url}/status`, { key })).body).not.toHaveProperty('dataBlocks');
    const body = { cohort: 'Patient', blocks: { from: busiest, to: busiest }, sites: ['north'] };
    await eventually(
      'the site serves again',
      async () =>
        (await call(`${north.url}/v1/stats`, { key, body: { ...body, dryRun: true } })).status === 200,
    );
    const refused = await call(`${north.url}/v1/stats`, { key, body });
    expect(refused.status).toBe(403);
    expect(JSON.stringify(refused.body)).toContain(busiest);
    const left = await call(`${north.url}/v1/stats`, { key, body: { cohort: 'Patient', sites: ['north'] } });
    expect(left.status).toBe(200);
  });
});
