/** Sealed rounds over real processes: six hospitals train together, two of them drop out, programs are killed in the middle. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { RoundPage, type RoundShown } from '../../shared/wire/round.ts';
import { TrainingResult } from '../../shared/wire/training.ts';
import { StatsResult } from '../../shared/wire/stats.ts';
import { TaskShown } from '../../shared/wire/task.ts';
import { eventually, qfl, qflError, qflJson } from '../fixtures/processes.ts';
import { call, type Federation, type Site, startFederation } from './federation.ts';

const HOSPITALS = ['east', 'harbour', 'north', 'park', 'south', 'west'] as const;
const PATIENTS = 100;
/** Two large hospitals, which are still at work when the others have sent. */
const LARGE: readonly string[] = ['harbour', 'park'];
const PATIENTS_LARGE = 2_000;
const ALL_PATIENTS = LARGE.length * PATIENTS_LARGE + (HOSPITALS.length - LARGE.length) * PATIENTS;
const patientsOf = (site: string): number => (LARGE.includes(site) ? PATIENTS_LARGE : PATIENTS);
const DIABETES = '44054006';
const HYPERTENSION = '38341003';
const BUDGETS = `
privacy:
  site_lifetime_budget: 1000
  max_budget_per_user: 500
  asking_site_daily_budget: 500
  department_budgets: { research: 500, icu: 500 }
`;

let federation: Federation;
const home = (): string[] => ['--home', federation.coordinator.home];
const start = (...options: string[]): string[] => [
  'round',
  'start',
  '--target',
  DIABETES,
  '--feature',
  'age',
  `condition=${HYPERTENSION}`,
  'sex=female',
  '--epsilon',
  '20',
  // Steps alone: how many rounds there are is what these tests look at.
  '--no-standardise',
  '--no-evaluate',
  ...options,
  ...home(),
];
const rounds = async (): Promise<readonly RoundShown[]> =>
  RoundPage.parse((await federation.coordinator.asOperator('/v1/rounds')).body).rounds;
const taskOf = async (id: string): Promise<TaskShown> =>
  TaskShown.parse((await federation.coordinator.asOperator(`/v1/tasks/${id}`)).body);
const Budgets = z.looseObject({
  ledgers: z.array(z.looseObject({ ledger: z.string(), spentEpsilon: z.number() })),
});
const spent = async (site: Site): Promise<number> =>
  Budgets.parse(
    (await call(`${site.url}/privacy/budgets`, { key: await site.key('doctor', 'research') })).body,
  ).ledgers.find(({ ledger }) => ledger === 'site_lifetime')!.spentEpsilon;
const ended = (id: string): Promise<TaskShown> =>
  eventually('the training ends', async () => {
    const task = await taskOf(id);
    return task.endedMs !== null && task;
  });

beforeAll(async () => {
  federation = await startFederation({ sites: HOSPITALS.map((name) => ({ name, config: BUDGETS })) });
  for (const { name, home: folder } of federation.sites) {
    const sample = join(federation.folder, `sample-${name}`);
    await qfl(['agent', 'sample', sample, '--site', name, '--patients', String(patientsOf(name))]);
    await qfl(['agent', 'import', join(sample, 'fhir'), '--home', folder]);
  }
  await eventually('all hold records', async () =>
    (await federation.site('north').status()).sites?.every(({ online, records }) => online && records),
  );
});
afterAll(() => federation.close());

describe('a training in sealed rounds', () => {
  test('learns from all patients, and each hospital charges it', async () => {
    const { out } = await qfl([...start('--rounds', '4', '--watch'), '--json']);
    const result = TrainingResult.parse(JSON.parse(out.slice(out.lastIndexOf('\n{\n') + 1)));
    expect(result.steps).toHaveLength(4);
    for (const { patients, survivors } of result.steps) {
      expect(survivors).toBe(6);
      // Those who opted out are not in it; noise is.
      expect(Math.abs(patients - ALL_PATIENTS)).toBeLessThan(0.08 * ALL_PATIENTS);
    }
    expect(result.steps.at(-1)!.loss!).toBeLessThan(result.steps[0]!.loss!);
    for (const site of federation.sites) expect(await spent(site)).toBeGreaterThan(0);
  });

  test('of six hospitals goes on with four when two drop out, and says what it stood', async () => {
    // A vector so long that two thousand patients take seconds: the large hospitals are still at work when they are stopped.
    const wide = join(federation.folder, 'wide.json');
    await writeFile(wide, JSON.stringify({ model: { kind: 'perceptron', hidden: [512, 16] } }));
    const task = await qflJson(TaskShown, [
      ...start('--file', wide, '--rounds', '1', '--patience', '6'),
      '--json',
    ]);
    await eventually('the hospitals work', async () => {
      const [round] = await rounds();
      return round?.task === task.id && round.phase === 'collecting';
    });
    const gone = LARGE.map((name) => federation.site(name).program);
    for (const program of gone) program.signal('SIGSTOP');
    const done = await ended(task.id);
    for (const program of gone) program.signal('SIGCONT');
    expect(done.state).toBe('done');
    const [round] = await rounds();
    const text = (await qfl(['round', 'show', round!.id, ...home()])).out;
    expect(text).toMatch(/6 sites, of which any 4 can open/);
    expect(text).toMatch(/stands 2 sites dropping out/);
    expect(text).toMatch(/1 corrupt site;/);
    expect(round).toMatchObject({ phase: 'done', sumHash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(round!.survivors).toEqual(['east', 'north', 'south', 'west']);
    expect(round!.members).toBe(6);
  });

  test('goes on with the same round when the coordinator is killed, and hospitals when they are', async () => {
    const task = await qflJson(TaskShown, [...start('--rounds', '3'), '--json']);
    await eventually('the first round is under way', async () => (await rounds())[0]?.task === task.id);
    await federation.coordinator.program.kill();
    await federation.coordinator.restart();
    await eventually('it goes on', async () => {
      const { progress, endedMs } = await taskOf(task.id);
      return (progress?.done ?? 0) >= 1 || endedMs !== null;
    });
    await federation.site('west').program.kill();
    await federation.site('west').restart();
    const done = await ended(task.id);
    expect([done.state, done.failure]).toEqual(['done', null]);
    const mine = (await rounds()).filter((round) => round.task === task.id);
    expect(mine).toHaveLength(3);
    for (const round of mine) expect(round.phase).toBe('done');
  });

  test('a masked statistic is their sum with less noise, and nobody’s part in it is told', async () => {
    const north = federation.site('north');
    const key = await north.key('doctor', 'icu');
    const target = ['--url', north.url, '--key', key];
    const question = ['query', 'stats', '--cohort', 'Patient'];
    const sure = ['--epsilon', '0.5', '--confidence', '0.999999'];
    const ask = (...options: string[]) => qflJson(StatsResult, [...question, ...sure, ...target, ...options]);
    const [open, masked] = [await ask(), await ask('--masked')];
    const countOf = ({ measures: [measure] }: StatsResult) => {
      if (measure?.measure !== 'count' || measure.interval === null) throw new Error('no count');
      const { low, high } = measure.interval;
      return { value: Number(measure.value), low: Number(low), high: Number(high) };
    };
    const [plain, sealed] = [countOf(open), countOf(masked)];
    // One truth lies in both intervals; the sealed one is less than half as wide.
    expect(Math.max(plain.low, sealed.low)).toBeLessThanOrEqual(Math.min(plain.high, sealed.high));
    expect(sealed.high - sealed.low).toBeLessThan((plain.high - plain.low) / 2);
    expect(masked.sites).toEqual([]);
    expect(masked.masked?.survivors).toEqual([...HOSPITALS]);
    const mean = ['--mean', 'age 0..110'];
    const means = [
      await qflJson(StatsResult, [...question, ...sure, ...mean, ...target]),
      await qflJson(StatsResult, [...question, ...sure, ...mean, '--masked', ...target]),
    ].map(({ measures: [measure] }) => {
      if (measure?.measure !== 'mean' || measure.interval === null) throw new Error('no mean');
      return measure.interval;
    });
    const [openMean, sealedMean] = means;
    expect(Number(sealedMean!.low)).toBeLessThanOrEqual(Number(openMean!.high));
    expect(Number(openMean!.low)).toBeLessThanOrEqual(Number(sealedMean!.high));
    const refusal = await qflError([...question, '--mean', 'age 0..110 step 0.001', '--masked', ...target]);
    expect(refusal.detail).toMatch(/does not fit into the words of a sealed sum/);
  });

  test('without three hospitals is refused, and says what to do', async () => {
    const refusal = await qflError([...start('--site', 'north', 'south')]);
    expect(refusal.code).toBe('invalid_request');
    expect(refusal.next).toMatch(/qfl round start/);
  });
});
