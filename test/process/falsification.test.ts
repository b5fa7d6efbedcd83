/**
 * Twenty thousand counts released by running agents through their public API, on a test policy whose budgets do not stop them: two hospitals
 * whose records differ by one patient. What is released must follow the noise that is claimed, and must not refute its epsilon.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { laplaceMass, laplaceTail } from '../../shared/privacy/laplace.ts';
import { refutedEpsilon } from '../fixtures/falsification.ts';
import { qfl } from '../fixtures/processes.ts';
import { chiSquare, chiSquareTailBound } from '../unit/privacy/statistics.ts';
import { call, type Federation, type Site, startFederation } from './federation.ts';

const CONFIG = `
limits: { requests_per_minute: 1000000 }
privacy:
  asking_site_daily_budget: 900000
  max_budget_per_user: 900000
  department_budgets: { research: 900000 }
  site_lifetime_budget: 900000
`;
/** Two counts a question, each with half of its epsilon of 1: scale 2. */
const QUESTIONS = 5_000;
const [EPSILON, SCALE] = [0.5, 2];
const IN_FLIGHT = 16;
const ALPHA = 1e-9;
const PATIENTS = 5;

const Result = z.looseObject({
  sites: z.tuple([
    z.looseObject({
      status: z.literal('answered'),
      answer: z.looseObject({
        releases: z.array(z.looseObject({ values: z.tuple([z.coerce.number()]) })).length(2),
      }),
    }),
  ]),
});

let federation: Federation;

const ndjson = (resources: readonly object[]): string =>
  resources.map((one) => `${JSON.stringify(one)}\n`).join('');

/** Patients with one refractory condition each. */
const importPatients = async (site: Site, patients: number): Promise<void> => {
  const folder = join(federation.folder, `fhir-${site.name}`);
  await mkdir(folder);
  const ids = Array.from({ length: patients }, (_, at) => `p${at}`);
  const code = { coding: [{ system: 'http://snomed.info/sct', code: '38341003' }] };
  await writeFile(join(folder, 'Patient.ndjson'), ndjson(ids.map((id) => ({ resourceType: 'Patient', id }))));
  await writeFile(
    join(folder, 'Condition.ndjson'),
    ndjson(
      ids.map((id) => ({
        resourceType: 'Condition',
        id: `c-${id}`,
        subject: { reference: `Patient/${id}` },
        code,
      })),
    ),
  );
  await qfl(['agent', 'import', folder, '--home', site.home]);
};

const ask = async (site: Site, key: string): Promise<number[]> => {
  const { body } = await call(`${site.url}/v1/stats`, {
    key,
    body: {
      cohort: 'Condition?code=38341003',
      measures: [{ measure: 'count' }, { measure: 'count' }],
      epsilon: '1',
      sites: [site.name],
    },
  });
  return Result.parse(body).sites[0].answer.releases.map(({ values }) => values[0]);
};

const drawFrom = async (site: Site): Promise<Int32Array> => {
  const key = await site.key('doctor', 'research');
  const draws: number[] = [];
  let asked = 0;
  const worker = async (): Promise<void> => {
    while (asked < QUESTIONS) {
      asked += 1;
      draws.push(...(await ask(site, key)));
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return Int32Array.from(draws);
};

const fits = (draws: Int32Array, exact: number, scale: number): boolean => {
  const noise = Array.from(draws, (draw) => draw - exact);
  const { statistic, degrees } = chiSquare(
    noise,
    (x) => laplaceMass(scale, x),
    (x) => laplaceTail(scale, x),
  );
  return chiSquareTailBound(statistic, degrees) > ALPHA;
};

let left: Int32Array;
let right: Int32Array;

beforeAll(async () => {
  federation = await startFederation({
    sites: [
      { name: 'fewer', config: CONFIG },
      { name: 'more', config: CONFIG },
    ],
    logLevel: 'warn',
  });
  const [fewer, more] = [federation.site('fewer'), federation.site('more')];
  await importPatients(fewer, PATIENTS);
  await importPatients(more, PATIENTS + 1);
  left = await drawFrom(fewer);
  right = await drawFrom(more);
}, 300_000);
afterAll(() => federation.close());

test('the noise is the discrete Laplace noise that was charged, around the true count', () => {
  expect(left.length + right.length).toBe(20_000);
  expect(fits(left, PATIENTS, SCALE)).toBe(true);
  expect(fits(right, PATIENTS + 1, SCALE)).toBe(true);
});

test('the same draws do not pass as half or twice that noise', () => {
  expect(fits(left, PATIENTS, SCALE / 2)).toBe(false);
  expect(fits(left, PATIENTS, SCALE * 2)).toBe(false);
});

test('the two hospitals cannot be told apart better than epsilon allows', () => {
  const refuted = refutedEpsilon(left, right);
  expect(refuted).toBeLessThanOrEqual(EPSILON);
  // With teeth: most of what is allowed is really there to be seen.
  expect(refuted).toBeGreaterThan(0.5 * EPSILON);
});
