/** The public FHIR records of three hospitals through the real command into three agents, then one count over all of them. */
import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { StatsResult } from '../../shared/wire/stats.ts';
import { eventually, qfl, qflJson } from '../fixtures/processes.ts';
import { hasShared, sharedPath, whyMissing } from '../fixtures/shared-data.ts';
import { type Federation, type Site, startFederation } from './federation.ts';

const DATA = 'data/fhir';
const HOSPITALS = ['hospital-a', 'hospital-b', 'hospital-c'] as const;
/** Essential hypertension, the commonest chronic condition of these records. */
const CODE = '38341003';
/** The interval misses the exact count with a probability of two in a thousand million. */
const CONFIDENCE = 1 - 2e-9;

const Imported = z.looseObject({
  counts: z.record(z.string(), z.number()),
  rejected: z.number(),
});
const Resource = z.looseObject({
  resourceType: z.string(),
  subject: z.looseObject({ reference: z.string() }).optional(),
  code: z
    .looseObject({ coding: z.array(z.looseObject({ code: z.string().optional() })).optional() })
    .optional(),
  verificationStatus: z
    .looseObject({ coding: z.array(z.looseObject({ code: z.string().optional() })) })
    .optional(),
});

let federation: Federation;
let key: string;
const printed: z.infer<typeof Imported>[] = [];

const importInto = (site: Site): Promise<z.infer<typeof Imported>> =>
  qflJson(Imported, ['agent', 'import', sharedPath(`${DATA}/${site.name}`), '--home', site.home]);

/** Every resource of a hospital's folder. */
const resourcesOf = (hospital: string): z.infer<typeof Resource>[] => {
  const folder = sharedPath(`${DATA}/${hospital}`);
  const read = (file: string): string => gunzipSync(readFileSync(file)).toString('utf8');
  const bulk = readdirSync(folder)
    .filter((name) => name.endsWith('.ndjson.gz'))
    .flatMap((name) =>
      read(`${folder}/${name}`)
        .split('\n')
        .filter((line) => line !== ''),
    )
    .map((line): unknown => JSON.parse(line));
  const Bundle = z.looseObject({ entry: z.array(z.looseObject({ resource: z.unknown() })) });
  const bundled = readdirSync(`${folder}/bundles`).flatMap((name) =>
    Bundle.parse(JSON.parse(read(`${folder}/bundles/${name}`))).entry.map(({ resource }) => resource),
  );
  return [...bulk, ...bundled].map((resource) => Resource.parse(resource));
};
/** Distinct patients with the condition, counted by this test from the files. */
const exactCount = (hospital: string): number => {
  const subjects = resourcesOf(hospital)
    .filter(
      ({ resourceType, code }) =>
        resourceType === 'Condition' && code?.coding?.some((one) => one.code === CODE),
    )
    .filter(
      ({ verificationStatus }) =>
        !verificationStatus?.coding.some(({ code }) => code === 'refuted' || code === 'entered-in-error'),
    )
    .map(({ subject }) => subject?.reference);
  return new Set(subjects).size;
};
/** The README's own numbers: of the bulk files, then of the bundles. */
const readmeCounts = (): Record<string, number> => {
  const text = readFileSync(sharedPath(`${DATA}/README.md`), 'utf8');
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1]?.replace(',', ''));
  return {
    Patient: number(/(\d+) patients with clinical notes/) + number(/each, (\d+) patients/),
    Encounter: number(/Encounter \(([\d,]+)\)/) + number(/([\d,]+) Encounters/),
    Condition: number(/Condition \(([\d,]+)\)/) + number(/([\d,]+) Conditions/),
    MedicationRequest: number(/MedicationRequest \(([\d,]+)\)/) + number(/([\d,]+) MedicationRequests/),
    DocumentReference: number(/DocumentReference \(([\d,]+) plain/),
    Observation: number(/([\d,]+) Observations/),
    DiagnosticReport: number(/([\d,]+) DiagnosticReports/),
  };
};

describe.skipIf(!hasShared(DATA))(`real records of three hospitals${whyMissing(DATA)}`, () => {
  beforeAll(async () => {
    federation = await startFederation({ sites: HOSPITALS.map((name) => ({ name })) });
  });
  afterAll(() => federation.close());

  test('import: one agent at rest, two while they run; every resource of the README arrives', async () => {
    const [first, ...others] = federation.sites;
    await first!.program.stop();
    printed.push(await importInto(first!));
    await first!.restart();
    for (const site of others) printed.push(await importInto(site));
    const totals = Object.fromEntries(
      Object.keys(readmeCounts()).map((type) => [
        type,
        printed.reduce((sum, { counts }) => sum + (counts[type] ?? 0), 0),
      ]),
    );
    expect(totals).toEqual(readmeCounts());
    for (const { rejected } of printed) expect(rejected).toBe(0);
  });

  test('import again says the same, for a person too', async () => {
    const site = federation.site('hospital-a');
    const { code, out } = await qfl([
      'agent',
      'import',
      sharedPath(`${DATA}/${site.name}`),
      '--home',
      site.home,
    ]);
    expect(code).toBe(0);
    const lines = out.split('\n').map((line) => line.trim().replace(/\s+/g, ' '));
    for (const [type, count] of Object.entries(printed[0]!.counts))
      expect(lines).toContain(`${type} ${count.toLocaleString('en')}`);
  });

  test('an opt-out is taken, on disk or by the running agent', async () => {
    const [patient] = resourcesOf('hospital-b').flatMap(({ resourceType, id }) =>
      resourceType === 'Patient' && typeof id === 'string' ? [id] : [],
    );
    const { home } = federation.site('hospital-b');
    const optOut = (...more: string[]) =>
      qflJson(z.looseObject({ optedOut: z.boolean() }), [
        'agent',
        'opt-out',
        patient!,
        '--home',
        home,
        ...more,
      ]);
    expect(await optOut()).toEqual({ optedOut: true });
    expect(await optOut('--withdraw')).toEqual({ optedOut: false });
  });

  test('a federated count covers the exact one, site by site and in all', async () => {
    key = await federation.site('hospital-a').key('doctor');
    await eventually('all hold records', async () =>
      (await federation.site('hospital-a').status()).sites?.every(({ online, records }) => online && records),
    );
    const result = await qflJson(StatsResult, [
      'query',
      'stats',
      '--count',
      'Condition',
      '--where',
      `code=${CODE}`,
      '--epsilon',
      '1',
      '--confidence',
      String(CONFIDENCE),
      '--url',
      federation.site('hospital-a').url,
      '--key',
      key,
    ]);
    const exact = Object.fromEntries(HOSPITALS.map((name) => [name, exactCount(name)]));
    const total = Object.values(exact).reduce((sum, count) => sum + count, 0);
    expect(total).toBeGreaterThan(0);
    expect(result.complete).toBe(true);
    expect(result.sites.map(({ site }) => site)).toEqual([...HOSPITALS]);
    const covers = ([measure]: (typeof result)['measures'], count: number): void => {
      const interval = measure?.measure === 'count' ? measure.interval : null;
      expect(Number(interval?.low)).toBeLessThanOrEqual(count);
      expect(Number(interval?.high)).toBeGreaterThanOrEqual(count);
    };
    covers(result.measures, total);
    for (const site of result.sites) {
      if (site.status !== 'answered') throw new Error(`${site.site} refused: ${site.code}`);
      covers(site.measures, exact[site.site]!);
      expect(site.answer.microEpsilon).toBe(1_000_000);
    }
  });
});
