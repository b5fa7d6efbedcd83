/**
 * Sealed rounds over real processes of which one lies: the shipped programs, with what they say bent on its way out. Whatever a lying coordinator asks
 * for, it gets one sum of enough sites or none; whatever one lying site does, the others' sum is right or stays closed.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { METHODS } from '../../shared/wire/session.ts';
import { RoundPage, type RoundShown } from '../../shared/wire/round.ts';
import { TrainingResult } from '../../shared/wire/training.ts';
import { TaskShown } from '../../shared/wire/task.ts';
import { answersTo, hostileEnvironment, tellAct } from '../fixtures/hostile-act.ts';
import { eventually, qfl, qflJson } from '../fixtures/processes.ts';
import { call, type Federation, startFederation } from './federation.ts';

const HOSPITALS = ['east', 'north', 'south', 'west'] as const;
const PATIENTS = 200;
const LIAR = 'south';
const BUDGETS = `
privacy:
  site_lifetime_budget: 2000
  max_budget_per_user: 1000
  asking_site_daily_budget: 1000
  department_budgets: { research: 1000 }
`;

let folder: string;
let federation: Federation;
const acts = { coordinator: '', site: '' };

interface Ended {
  readonly task: TaskShown;
  /** Newest first. */
  readonly rounds: readonly RoundShown[];
}
const train = async (...options: string[]): Promise<Ended> => {
  const question = [
    '--target',
    '44054006',
    '--feature',
    'age',
    'sex=female',
    '--epsilon',
    '20',
    '--no-standardise',
    '--no-evaluate',
  ];
  const { home } = federation.coordinator;
  const { id } = await qflJson(TaskShown, ['round', 'start', ...question, '--home', home, ...options]);
  const task = await eventually('the training ends', async () => {
    const { body } = await federation.coordinator.asOperator(`/v1/tasks/${id}`);
    const shown = TaskShown.parse(body);
    return shown.endedMs !== null && shown;
  });
  const { body } = await federation.coordinator.asOperator('/v1/rounds');
  return { task, rounds: RoundPage.parse(body).rounds.filter((round) => round.task === id) };
};

/** A mask too many or too few makes any number of 2^32 of it: the right sum shows in the number of patients, within its noise. */
const expectRight = async ({ task, rounds }: Ended): Promise<void> => {
  expect([task.state, task.failure]).toEqual(['done', null]);
  const { body } = await federation.coordinator.asOperator(`/v1/tasks/${task.id}/result`);
  const { steps } = TrainingResult.parse(body);
  expect(steps).toHaveLength(rounds.length);
  for (const { patients, survivors } of steps)
    expect(Math.abs(patients - survivors * PATIENTS)).toBeLessThan(0.15 * survivors * PATIENTS);
};
const survivorsOf = ({ rounds }: Ended): readonly string[][] => rounds.map(({ survivors }) => [...survivors]);

const Budgets = z.looseObject({
  ledgers: z.array(z.looseObject({ ledger: z.string(), spentEpsilon: z.number() })),
});
const spent = async (name: string): Promise<number> => {
  const site = federation.site(name);
  const { body } = await call(`${site.url}/privacy/budgets`, { key: await site.key('doctor', 'research') });
  return Budgets.parse(body).ledgers.find(({ ledger }) => ledger === 'site_lifetime')!.spentEpsilon;
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qfl-hostile-'));
  const folders = await Promise.all(['c', 's'].map((name) => mkdtemp(join(folder, name))));
  [acts.coordinator, acts.site] = [folders[0]!, folders[1]!];
  federation = await startFederation({
    coordinatorEnv: hostileEnvironment(acts.coordinator),
    sites: HOSPITALS.map((name) => ({
      name,
      config: BUDGETS,
      ...(name === LIAR ? { env: hostileEnvironment(acts.site) } : {}),
    })),
  });
  for (const { name, home } of federation.sites) {
    const sample = join(federation.folder, `sample-${name}`);
    await qfl(['agent', 'sample', sample, '--site', name, '--patients', String(PATIENTS)]);
    await qfl(['agent', 'import', join(sample, 'fhir'), '--home', home]);
  }
  await eventually('all hold records', async () =>
    (await federation.site('north').status()).sites?.every(({ online, records }) => online && records),
  );
});
afterEach(() => {
  for (const at of [acts.coordinator, acts.site]) tellAct(at, 'honest');
});
afterAll(async () => {
  await federation.close();
  await rm(folder, { recursive: true, force: true });
});

describe('a coordinator that', () => {
  test('shows one site another plan gets no vector of it that fits the others', async () => {
    tellAct(acts.coordinator, 'other plan');
    const ended = await train('--rounds', '1', '--patience', '6');
    await expectRight(ended);
    expect(survivorsOf(ended)).toEqual([['north', 'south', 'west']]);
  });

  test('asks for a second list of survivors, or to reveal for one that too few stand for, is given neither', async () => {
    tellAct(acts.coordinator, 'two lists');
    const ended = await train('--rounds', '1');
    await expectRight(ended);
    expect(survivorsOf(ended)).toEqual([[...HOSPITALS]]);
    const answers = answersTo(acts.coordinator);
    const kinds = new Set(answers.map((answer) => answer.replace(/:.*/, '')));
    expect([...kinds].toSorted()).toEqual([
      'another list',
      'another list to reveal',
      'one that stands for it three times',
      'too few stand for it',
    ]);
    expect(answers.filter((answer) => answer.endsWith(': given'))).toEqual([]);
    expect(answers.filter((answer) => answer.startsWith('another list:'))).toEqual(
      HOSPITALS.map(() => 'another list: conflict'),
    );
  });

  test('replays a plan, or its keys under another name, is refused both', async () => {
    tellAct(acts.coordinator, 'replayed plans');
    await expectRight(await train('--rounds', '2'));
    expect(answersTo(acts.coordinator).toSorted()).toEqual([
      ...HOSPITALS.map(() => 'a plan again: expired'),
      ...HOSPITALS.map(() => 'its keys under another name: conflict'),
    ]);
  });

  test('invents a site, or gives one the keys of another, gets no round', async () => {
    const fewer = ['--site', 'east', 'north', 'west', '--rounds', '1'];
    tellAct(acts.coordinator, 'invented site');
    const invented = await train(...fewer);
    expect(invented.rounds).toEqual([]);
    expect(JSON.stringify(invented.task.failure)).toMatch(
      /no directory that enough hospitals have confirmed/,
    );
    tellAct(acts.coordinator, 'other keys');
    const swapped = await train(...fewer);
    expect(swapped.rounds).toEqual([]);
    expect(JSON.stringify(swapped.task.failure)).toMatch(/is not signed by it/);
  });

  test('delays, repeats and loses everything once still gets the right sum, for one charge', async () => {
    const costOf = async (act: string): Promise<number> => {
      const before = await spent('north');
      tellAct(acts.coordinator, act);
      const ended = await train('--rounds', '1');
      await expectRight(ended);
      expect(survivorsOf(ended)).toEqual([[...HOSPITALS]]);
      return (await spent('north')) - before;
    };
    const calm = await costOf('honest');
    expect(calm).toBeGreaterThan(0);
    // Composed and rounded up, two rounds do not cost the same to the last digit; a second charge would double it.
    expect(await costOf('broken line')).toBeLessThan(1.1 * calm);
  });
});

describe('a site that', () => {
  const others = HOSPITALS.filter((name) => name !== LIAR);

  test('publishes wrong hashes is out, by name', async () => {
    tellAct(acts.site, 'wrong hashes');
    const ended = await train('--rounds', '1', '--patience', '6');
    await expectRight(ended);
    expect(survivorsOf(ended)).toEqual([others]);
    expect(ended.rounds[0]!.losses).toMatchObject([{ site: LIAR, phase: 'sharing', code: 'protocol' }]);
  });

  test('seals garbage for the others ends the round, which stays closed; the next is begun without it', async () => {
    tellAct(acts.site, 'garbage boxes');
    const ended = await train('--rounds', '2', '--patience', '6');
    const [next, spoilt] = ended.rounds;
    expect([spoilt?.phase, spoilt?.sumHash]).toEqual(['aborted', null]);
    expect(spoilt!.losses.map(({ blames }) => blames)).toEqual(others.map(() => LIAR));
    for (const { detail } of spoilt!.losses) expect(detail).toMatch(/^south did not entrust this site/);
    expect([ended.task.state, next?.phase, next?.sites]).toEqual(['done', 'done', others]);
    const { body } = await federation.coordinator.asOperator(`/v1/tasks/${ended.task.id}/result`);
    // What the spoilt round cost is gone, and the training stays within its budget: one step instead of two.
    const { steps, without, failedRounds } = TrainingResult.parse(body);
    expect([steps.length, failedRounds, without]).toEqual([1, 1, [LIAR]]);
  });

  test('shows garbage for shares changes nothing', async () => {
    tellAct(acts.site, 'garbage shares');
    const ended = await train('--rounds', '1', '--patience', '6');
    await expectRight(ended);
    expect(survivorsOf(ended)).toEqual([[...HOSPITALS]]);
  });

  test.each([
    METHODS.roundPlan,
    METHODS.roundShares,
    METHODS.roundMembers,
    METHODS.roundSurvivors,
    METHODS.roundReveal,
  ])('is killed at %s is done without', async (method) => {
    tellAct(acts.site, `stops at ${method}`);
    const ended = await train('--rounds', '1', '--patience', '6');
    const { program } = federation.site(LIAR);
    expect(program.isRunning()).toBe(false);
    tellAct(acts.site, 'honest');
    await federation.site(LIAR).restart();
    await federation.settled();
    await expectRight(ended);
    const late: string[] = [METHODS.roundSurvivors, METHODS.roundReveal];
    expect(survivorsOf(ended)).toEqual([late.includes(method) ? [...HOSPITALS] : others]);
  });
});
