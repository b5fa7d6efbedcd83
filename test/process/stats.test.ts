/** Every kind of figure over generated records of three hospitals, through the command and the API, against the truth. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { hospitalResources } from '../../agent/records/sample.ts';
import { type MeasureResult, StatsPrice, StatsResult } from '../../shared/wire/stats.ts';
import { eventually, qfl, qflJson } from '../fixtures/processes.ts';
import { call, type Federation, startFederation } from './federation.ts';

const HOSPITALS = ['north', 'south', 'west'] as const;
const PATIENTS = 300;
const DAY = '2025-06-30';
/** An interval misses the truth about once in a million. */
const CONFIDENCE = 1 - 1e-6;
const EDGES = [0, 30, 50, 70, 110] as const;
const DIABETES = '44054006';

interface Known {
  readonly age: number;
  readonly gender: string;
  readonly diabetic: boolean;
  readonly hba1c: readonly number[];
}

const Resource = z.looseObject({
  resourceType: z.string(),
  id: z.string(),
  gender: z.string().optional(),
  birthDate: z.string().optional(),
  link: z.array(z.unknown()).optional(),
  subject: z.looseObject({ reference: z.string() }).optional(),
  patient: z.looseObject({ reference: z.string() }).optional(),
  code: z.looseObject({ coding: z.array(z.looseObject({ code: z.string() })) }).optional(),
  verificationStatus: z.looseObject({ coding: z.array(z.looseObject({ code: z.string() })) }).optional(),
  valueQuantity: z.looseObject({ value: z.number() }).optional(),
});

const ageOf = (birthDate: string): number =>
  Number(DAY.slice(0, 4)) - Number(birthDate.slice(0, 4)) - (birthDate.slice(5) > DAY.slice(5) ? 1 : 0);

/** Persons of a hospital as this test reads them from the generator. */
const knownOf = (site: string): Known[] => {
  const people = new Map<string, { -readonly [Key in keyof Known]: Known[Key] }>();
  for (const raw of hospitalResources({ site, patients: PATIENTS })) {
    const { resourceType, id, gender = '', birthDate = '', link, ...rest } = Resource.parse(raw);
    // The old record of a merged person says nothing new.
    if (resourceType === 'Patient' && link === undefined)
      people.set(id, { age: ageOf(birthDate), gender, diabetic: false, hba1c: [] });
    if (resourceType === 'Consent') people.delete(rest.patient?.reference.slice(8) ?? '');
    const person = people.get(rest.subject?.reference.slice(8) ?? '');
    const codes = rest.code?.coding.map(({ code }) => code) ?? [];
    const doubtful = rest.verificationStatus?.coding.some(({ code }) => code !== 'confirmed') === true;
    if (person !== undefined && codes.includes(DIABETES) && !doubtful) person.diabetic = true;
    if (person !== undefined && codes.includes('4548-4') && rest.valueQuantity !== undefined)
      person.hba1c = [...person.hba1c, rest.valueQuantity.value];
  }
  return [...people.values()];
};

let federation: Federation;
let url: string;
let key: string;
let known: Known[];

const target = (): string[] => ['--url', url, '--key', key, '--confidence', String(CONFIDENCE)];
const ask = (...options: string[]): Promise<StatsResult> =>
  qflJson(StatsResult, ['query', 'stats', ...options, ...target()]);
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const holds = (interval: { low: string; high: string } | null | undefined, truth: number): void => {
  expect(Number(interval?.low)).toBeLessThanOrEqual(truth);
  expect(Number(interval?.high)).toBeGreaterThanOrEqual(truth);
};
const only = <Kind extends MeasureResult['measure']>(
  result: StatsResult,
  kind: Kind,
): Extract<MeasureResult, { measure: Kind }> => {
  const found = result.measures.find((one) => one.measure === kind);
  if (found === undefined) throw new Error(`no ${kind} in the result`);
  return found as Extract<MeasureResult, { measure: Kind }>;
};

const Budgets = z.looseObject({
  ledgers: z.array(z.looseObject({ ledger: z.string(), spentEpsilon: z.number() })),
});
const spent = async (): Promise<number[]> =>
  Budgets.parse((await call(`${url}/privacy/budgets`, { key })).body).ledgers.map(
    ({ spentEpsilon }) => spentEpsilon,
  );

beforeAll(async () => {
  federation = await startFederation({ sites: HOSPITALS.map((name) => ({ name })) });
  for (const { name, home } of federation.sites) {
    const sample = join(federation.folder, `sample-${name}`);
    await qfl(['agent', 'sample', sample, '--site', name, '--patients', String(PATIENTS)]);
    await qfl(['agent', 'import', join(sample, 'fhir'), '--home', home]);
  }
  const first = federation.site('north');
  ({ url } = first);
  key = await first.key('doctor', 'emergency');
  known = HOSPITALS.flatMap(knownOf);
  await eventually('all hold records', async () =>
    (await first.status()).sites?.every(({ online, records }) => online && records),
  );
});
afterAll(() => federation.close());

describe('figures over three hospitals', () => {
  test('a dry run says what it would cost, and spends nothing', async () => {
    const before = await spent();
    const price = await qflJson(StatsPrice, [
      'query',
      'stats',
      '--cohort',
      'Patient',
      '--mean',
      'age 0..110',
      '--epsilon',
      '0.5',
      '--dry-run',
      ...target(),
    ]);
    expect(price.sites.toSorted()).toEqual([...HOSPITALS]);
    expect(price.fits).toBe(true);
    expect(price.measures).toMatchObject([{ measure: 'mean', epsilon: 0.5 }]);
    for (const { costEpsilon } of price.ledgers) expect(costEpsilon).toBeGreaterThan(0);
    expect(await spent()).toEqual(before);
  });

  test('mean, histogram and table at once, their sum of epsilon charged once', async () => {
    const result = await ask(
      '--cohort',
      'Patient',
      '--mean',
      `age 0..110 share 2`,
      '--histogram',
      `age ${EDGES.join(',')}`,
      '--epsilon',
      '1',
    );
    expect(result.complete).toBe(true);
    const figure = only(result, 'mean');
    holds(figure.interval, mean(known.map(({ age }) => age)));
    holds(figure.count.interval, known.length);
    const { cells } = only(result, 'table');
    expect(cells).toHaveLength(EDGES.length - 1);
    cells.forEach(({ interval }, at) =>
      holds(interval, known.filter(({ age }) => age >= EDGES[at]! && age < EDGES[at + 1]!).length),
    );
    expect(result.sites.map(({ site }) => site).toSorted()).toEqual([...HOSPITALS]);
  });

  test('a contingency table of two variables', async () => {
    const result = await ask(
      '--cohort',
      'Patient',
      '--table',
      `gender age ${EDGES.join(',')}`,
      '--epsilon',
      '1',
    );
    const { cells, dimensions } = only(result, 'table');
    expect(dimensions.map(({ name }) => name)).toEqual(['gender', 'age']);
    for (const [index, gender] of ['male', 'female', 'other', 'unknown'].entries())
      EDGES.slice(1).forEach((edge, at) =>
        holds(
          cells[index * (EDGES.length - 1) + at]?.interval,
          known.filter((one) => one.gender === gender && one.age >= EDGES[at]! && one.age < edge).length,
        ),
      );
  });

  test('quantiles, from merged histograms of all and selected at one', async () => {
    const result = await ask(
      '--cohort',
      'Patient',
      '--quantiles',
      '0.25,0.5,0.9 age 0..110',
      '--epsilon',
      '1',
    );
    const ages = known.map(({ age }) => age).toSorted((left, right) => left - right);
    for (const { quantile, interval, value } of only(result, 'quantiles').points) {
      holds(interval, ages[Math.ceil(Number(quantile) * ages.length) - 1]!);
      holds(interval, Number(value));
    }
    const here = await ask(
      '--cohort',
      'Patient',
      '--quantiles',
      '0.5 age 0..110',
      '--sites',
      'north',
      '--epsilon',
      '1',
    );
    const [point] = only(here, 'quantiles').points;
    const own = knownOf('north').map(({ age }) => age);
    const below = own.filter((age) => age < Number(point?.value)).length;
    const upTo = own.filter((age) => age <= Number(point?.value)).length;
    const rank = Math.max(0, below - own.length / 2, own.length / 2 - upTo);
    expect(rank).toBeLessThanOrEqual(Number(point?.rankWithin));
    expect(here.sites.map(({ site }) => site)).toEqual(['north']);
  });

  test('values of rows for a cohort by and, or, not', async () => {
    const result = await ask(
      '--cohort',
      'Condition?term=Diabetes mellitus type 2 and not (Patient?gender=male or Observation?value=ge99 %)',
      '--mean',
      'value % 3..15 step 0.1 take 1 latest of Observation?code=4548-4',
      '--epsilon',
      '1',
    );
    const members = known.filter(({ diabetic, gender }) => diabetic && gender !== 'male');
    holds(only(result, 'mean').count.interval, members.filter(({ hba1c }) => hba1c.length > 0).length);
    // Persons with one visit for it have one value, so which is the latest is no question.
    const values = members.flatMap(({ hba1c }) => (hba1c.length === 1 ? hba1c : []));
    holds(only(result, 'mean').interval, mean(values.map((value) => Math.min(15, Math.max(3, value)))));
  });

  test('the API takes the same in JSON; what has no bound is refused with the reason, unspent', async () => {
    const body = {
      cohort: { all: [{ resource: 'Condition', where: [] }, { not: 'Patient?age=ge70' }] },
      measures: [{ measure: 'sum', of: { variable: 'age', low: '0', high: '110', granularity: '1' } }],
      epsilon: '0.5',
    };
    const { status, body: answer } = await call(`${url}/v1/stats`, { key, body });
    expect({ status, answer }).toMatchObject({ status: 200 });
    expect(StatsResult.parse(answer).measures).toMatchObject([{ measure: 'sum', unit: 'years' }]);
    const before = await spent();
    for (const [wrong, reason] of [
      [{ cohort: { resource: 'Condition', where: [], limit: 5 } }, 'push out another'],
      [{ cohort: { join: ['Condition', 'Observation'] } }, 'join'],
      [{ cohort: 'Condition?orderby=date' }, 'order'],
      [
        {
          cohort: 'Patient',
          measures: [
            {
              measure: 'mean',
              of: { variable: 'value', unit: '%', low: '3', high: '15', granularity: '0.1' },
            },
          ],
        },
        'rows',
      ],
      [{ cohort: 'Condition?term=nonsense' }, 'public list'],
      [{ cohort: 'Patient', sites: ['nowhere'] }, 'no site with records'],
    ] as const) {
      const refused = await call(`${url}/v1/stats`, { key, body: wrong });
      expect(refused.status).toBeGreaterThanOrEqual(400);
      expect(JSON.stringify(refused.body)).toContain(reason);
    }
    expect(await spent()).toEqual(before);
  });

  test('a person reads tables, and what was not answered', async () => {
    const { code, out } = await qfl([
      'query',
      'stats',
      '--cohort',
      'Patient',
      '--table',
      'gender age 0,50,110',
      '--sites',
      'north',
      'elsewhere',
      '--hide-below',
      '60',
      '--epsilon',
      '0.5',
      ...target(),
    ]);
    expect(code).toBe(0);
    expect(out).toContain('female');
    expect(out).toContain('cells with a noisy count below 60 are not shown');
    expect(out).toContain('elsewhere is not connected or has no records');
  });
});
