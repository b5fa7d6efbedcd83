/** Unknown keys and data blocks from the question to the figure, over real ledgers: what is charged, told, hidden and refused. */
import { describe, expect, test } from 'vitest';
import { createContribute } from '../../../agent/answer/contribute.ts';
import { figuresOf } from '../../../agent/answer/stats/figures.ts';
import { createMeasuresPlanner } from '../../../agent/answer/stats/plan.ts';
import { questionOf } from '../../../agent/answer/stats/question.ts';
import { Block } from '../../../agent/budget/blocks.ts';
import { DEFAULT_LIMITS, type LedgerLimits } from '../../../agent/budget/ledger.ts';
import type { Records } from '../../../agent/records/store.ts';
import { fromUtf8, toHex, utf8 } from '../../../shared/bytes.ts';
import { parseMeasure } from '../../../shared/cli/measure-text.ts';
import { statsText } from '../../../shared/cli/stats-text.ts';
import { hashOf } from '../../../shared/crypto/hash.ts';
import { QflError } from '../../../shared/errors.ts';
import { QueryId, SiteId } from '../../../shared/ids.ts';
import { deltaOfUnits } from '../../../shared/privacy/delta.ts';
import { microEpsilon } from '../../../shared/privacy/epsilon.ts';
import { MeasureResult, type MeasuresQuery, StatsAnswer } from '../../../shared/wire/stats.ts';
import { seededRandom } from '../../fixtures/drbg.ts';
import { condition, importResources, memoryRecords, patient, type Resource } from '../../fixtures/fhir.ts';
import { freshLedger, request, START_MS } from '../budget/fixture.ts';

const TODAY = '2024-10-04';
const MICRO = 1_000_000;
const withShare: LedgerLimits = { ...DEFAULT_LIMITS, thresholdDeltaMillionths: 100_000 };
const SNOMED = 'http://snomed.info/sct';

const COMMON = '44054006';
const LOCAL = '59621000';
const RARE = '4242';

/** `common` patients with one code, `local` with another as well, one with a code that nobody else has. */
const hospital = async (common: number, local: number): Promise<Records> => {
  const records = memoryRecords();
  const people = Array.from({ length: common }, (_, at): Resource[] => [
    patient(`p${at}`, { gender: at % 2 === 0 ? 'female' : 'male' }),
    condition(`c${at}`, `p${at}`, COMMON),
    ...(at < local ? [condition(`l${at}`, `p${at}`, LOCAL)] : []),
  ]).flat();
  await importResources(records, [...people, patient('one'), condition('only', 'one', RARE)]);
  return records;
};

const ask = (text: string, delta?: string, blocks?: { from: string; to: string }): MeasuresQuery =>
  questionOf(
    {
      cohort: 'Patient',
      measures: [{ ...parseMeasure('keys', text), ...(delta === undefined ? {} : { delta }) } as never],
      microEpsilon: MICRO,
      blocks,
    },
    { today: TODAY, sites: 2 },
  ).query;

interface SiteOptions {
  readonly limits?: LedgerLimits;
  readonly first?: string | null;
  readonly seed?: number;
}

const siteOf = async (records: Records, { limits = withShare, first = null, seed = 1 }: SiteOptions = {}) => {
  const { ledger } = await freshLedger(limits);
  const unused = (): never => {
    throw new QflError('not_found');
  };
  const contribute = createContribute({
    ledger,
    random: seededRandom(seed),
    meters: { charged: () => undefined, refusedByBudget: () => undefined },
    planners: { measures: createMeasuresPlanner(records), concepts: unused, tally: unused },
    dataBlocks: { first, nowMs: () => START_MS },
  });
  const asker = request({ user: 3 });
  const answer = async (query: MeasuresQuery, id = 1): Promise<StatsAnswer> => {
    const envelopeHash = toHex(hashOf('test', utf8(JSON.stringify([query, id]))));
    const queryId = QueryId.parse(id.toString(16).padStart(32, '0'));
    const { sealed } = await contribute(
      { ...asker, sender: SiteId.parse('south'), queryId, envelopeHash, query },
      (whole) => utf8(JSON.stringify(whole)),
    );
    return StatsAnswer.parse(JSON.parse(fromUtf8(sealed)));
  };
  return { ledger, contribute, answer, asker };
};

const keyed = (query: MeasuresQuery, answers: readonly StatsAnswer[]) => {
  const [result] = figuresOf(query, answers, 0.95).map((one) => MeasureResult.parse(one));
  if (result?.measure !== 'keyed_table') throw new Error('expected a table of unknown keys');
  return result;
};

describe('a table of keys that only the records know', () => {
  const query = ask('code take 4 blind of Condition', '1e-8');

  test('tells what many have, hides what one has, and says by which threshold and odds', async () => {
    const { ledger, answer } = await siteOf(await hospital(200, 120));
    const result = keyed(query, [await answer(query)]);
    expect(result.cells.map(({ bins }) => bins)).toEqual([[`${SNOMED}|${COMMON}`], [`${SNOMED}|${LOCAL}`]]);
    for (const [at, truth] of [200, 120].entries()) {
      const { value, interval } = result.cells[at]!;
      expect(Math.abs(Number(value) - truth)).toBeLessThan(60);
      expect(Number(interval?.low)).toBeLessThanOrEqual(truth);
      expect(Number(interval?.high)).toBeGreaterThanOrEqual(truth);
    }
    const [hidden] = result.hidden;
    expect(hidden!.delta).toBeLessThanOrEqual(1e-8 * (1 + 1e-9));
    expect(Number(hidden!.threshold)).toBeGreaterThan(2);
    expect(deltaOfUnits(ledger.status().lifetimeDeltaUnits)).toBe(hidden!.delta);
    const text = statsText(
      {
        queryId: QueryId.parse('1'.repeat(32)),
        kind: 'measures',
        asked: '',
        complete: true,
        measures: [result],
        epsilonPerSite: 1,
        sites: [],
      },
      { asked: 'codes', confidence: 0.95 },
    );
    expect(text).toContain(`below a noisy count of ${hidden!.threshold}`);
    expect(text).toContain('1 of 1 sites');
    expect(text).not.toContain(RARE);
  });

  test('is charged once, and told the same to whoever asks again', async () => {
    const { ledger, answer } = await siteOf(await hospital(100, 0));
    const first = await answer(query);
    const { lifetimeDeltaUnits } = ledger.status();
    expect(await answer(query)).toEqual(first);
    expect(ledger.status().lifetimeDeltaUnits).toBe(lifetimeDeltaUnits);
  });

  test('of several sites adds up by key, with an interval that leaves room for who hides it', async () => {
    const sites = [
      await siteOf(await hospital(200, 150), { seed: 3 }),
      await siteOf(await hospital(150, 2), { seed: 4 }),
    ];
    const answers = [];
    for (const site of sites) answers.push(await site.answer(query));
    const result = keyed(query, answers);
    const [common, local] = result.cells;
    expect([common?.toldBy, local?.toldBy]).toEqual([2, 1]);
    expect(Number(common?.interval?.low)).toBeLessThanOrEqual(350);
    expect(Number(common?.interval?.high)).toBeGreaterThanOrEqual(350);
    expect(Number(local?.interval?.low)).toBeLessThanOrEqual(152);
    expect(Number(local?.interval?.high)).toBeGreaterThanOrEqual(152);
    const room = Number(result.hidden[1]!.threshold) - 1;
    expect(Number(local?.interval?.high)).toBeGreaterThanOrEqual(Number(local?.value) + room);
  });

  test('crosses with public bins, and of nobody is empty', async () => {
    const { answer } = await siteOf(await hospital(400, 0));
    const crossed = ask('code gender take 1 blind of Condition', '1e-8');
    const result = keyed(crossed, [await answer(crossed, 2)]);
    expect(result.dimensions).toEqual(['code', 'gender']);
    expect(result.cells.map(({ bins }) => bins[1])).toEqual(['female', 'male']);
    const nobody = ask('code take 1 blind of Procedure', '1e-8');
    expect(keyed(nobody, [await answer(nobody, 3)]).cells).toEqual([]);
  });

  test('says beforehand what each ledger would be charged', async () => {
    const { ledger, contribute, asker } = await siteOf(await hospital(3, 0));
    const { planned, quote } = await contribute.price(query, asker);
    expect(planned.releases).toMatchObject([
      { cells: [], keysMax: 4_096, mechanism: { keysPerPatient: 4n } },
    ]);
    expect(deltaOfUnits(quote.deltaUnits)).toBeGreaterThan(1e-10);
    expect(quote.readings.every(({ deltaBudgetUnits }) => deltaBudgetUnits > quote.deltaUnits)).toBe(true);
    expect(quote.fits).toBe(true);
    expect(ledger.status().lifetimeDeltaUnits).toBe(0n);
    const more = await contribute.price(ask('code of Condition', '1e-6'), asker);
    expect(more.quote.fits).toBe(false);
  });

  test('is refused by a site that reserves no delta, and it says what to set', async () => {
    const { ledger, answer } = await siteOf(await hospital(3, 0), { limits: DEFAULT_LIMITS });
    await expect(answer(query)).rejects.toMatchObject({
      code: 'budget_exceeded',
      next: expect.stringContaining('privacy.threshold_delta_share') as string,
      facts: { setting: 'privacy.threshold_delta_share' },
    });
    expect(ledger.head().counter).toBe(0);
  });

  test('is refused where its keys are named or known, or its records do not hold them yet', async () => {
    const body = (measure: unknown) =>
      questionOf(
        { cohort: 'Condition', measures: [measure as never], microEpsilon: MICRO },
        { today: TODAY, sites: 1 },
      );
    const named = { measure: 'table', keys: 'unknown', by: [{ variable: 'code', values: ['1'] }] };
    const known = { measure: 'table', keys: 'unknown', by: [{ variable: 'gender' }] };
    const notTable = { measure: 'count', keys: 'unknown' };
    const noDelta = { measure: 'table', keys: 'unknown', delta: '2', by: [{ variable: 'code' }] };
    for (const measure of [named, known, notTable, noDelta])
      expect(() => body(measure)).toThrow(expect.objectContaining({ code: 'invalid_request' }) as Error);
    expect(() => body({ measure: 'table', by: [{ variable: 'code' }] })).toThrow('needs the values');
    const records = await hospital(2, 0);
    await records.store.write([{ type: 'put', key: 'records/t/Condition', value: utf8('2') }]);
    const { answer } = await siteOf(records);
    await expect(answer(query)).rejects.toMatchObject({ code: 'not_ready', facts: { missing: 'name' } });
  });

  test('is not believed when a site tells what its threshold hides, or a key twice', async () => {
    const { answer } = await siteOf(await hospital(200, 0));
    const honest = await answer(query);
    const [release] = honest.releases;
    const lying = (more: Partial<typeof release>): StatsAnswer => ({
      ...honest,
      releases: [{ ...release!, ...more }],
    });
    for (const answers of [
      lying({ cells: ['["x"]'], values: ['3'] }),
      lying({ cells: ['["x"]', '["x"]'], values: ['3000', '3000'] }),
      lying({ cells: ['["x","y"]'], values: ['3000'] }),
      lying({ cells: ['x'], values: ['3000'] }),
      lying({
        cells: [],
        values: [],
        mechanism: { kind: 'discrete_laplace', sensitivity: '4', scale: ['4', '1'] },
      }),
    ])
      expect(() => figuresOf(query, [answers], 0.95)).toThrow(
        expect.objectContaining({ code: 'protocol' }) as Error,
      );
  });
});

describe('a question over data blocks', () => {
  const ample = { microEpsilon: microEpsilon(100_000_000), delta: '1e-6' };
  const limits: LedgerLimits = {
    ...DEFAULT_LIMITS,
    userDay: ample,
    askingSiteDay: ample,
    siteLifetime: ample,
    departmentDay: { [request().department]: ample },
    dataBlock: { microEpsilon: microEpsilon(30_000_000), delta: '1e-6' },
  };
  const count = (blocks?: { from: string; to: string }): MeasuresQuery =>
    questionOf(
      { cohort: 'Patient', measures: [{ measure: 'count' }], microEpsilon: MICRO, blocks },
      { today: TODAY, sites: 1 },
    ).query;

  const admitted = async (): Promise<Records> => {
    const records = memoryRecords();
    const people = ['2024-08', '2024-09'].flatMap((month, of) =>
      Array.from({ length: 100 * (of + 1) }, (_, at): Resource[] => [
        patient(`p${of}x${at}`),
        {
          resourceType: 'Encounter',
          id: `e${of}x${at}`,
          status: 'finished',
          subject: { reference: `Patient/p${of}x${at}` },
          period: { start: `${month}-15` },
        },
      ]).flat(),
    );
    await importResources(records, people);
    return records;
  };
  const released = (answer: StatsAnswer): number => Number(answer.releases[0]!.values[0]);
  const lastBlocks = async ({ ledger }: Awaited<ReturnType<typeof siteOf>>) => {
    const [reservation] = (await ledger.history({ limit: 10 })).filter(
      ({ record }) => record.type === 'reserved',
    );
    return reservation?.record.type === 'reserved' ? reservation.record.blocks : undefined;
  };

  test('reads the patients of the months it names, and charges those', async () => {
    const site = await siteOf(await admitted(), { limits });
    expect(released(await site.answer(count({ from: '2024-08', to: '2024-08' }), 1))).toBeCloseTo(100, -1.5);
    expect(await lastBlocks(site)).toEqual(['2024-08']);
    expect(released(await site.answer(count({ from: '2024-09', to: '2024-09' }), 2))).toBeCloseTo(200, -1.5);
    expect(released(await site.answer(count({ from: '2024-08', to: '2024-09' }), 3))).toBeCloseTo(300, -1.5);
    expect(await lastBlocks(site)).toEqual(['2024-08', '2024-09']);
    // Whoever adds sites up sees which months each of them read.
    expect((await site.answer(count({ from: '2024-08', to: '2024-09' }), 3)).blocks).toEqual({
      from: '2024-08',
      to: '2024-09',
    });
  });

  test('that names none reads all from the first month of the site to this one, but the retired', async () => {
    const site = await siteOf(await admitted(), { limits, first: '2024-08' });
    // The clock of the ledger's tests stands in October 2024.
    expect(released(await site.answer(count(), 1))).toBeCloseTo(300, -1.5);
    expect(await lastBlocks(site)).toEqual(['2024-08', '2024-09', '2024-10']);
    await site.ledger.retireBlock(Block.parse('2024-08'), { by: 'Dr Admin', reason: 'used up' });
    expect(released(await site.answer(count(), 2))).toBeCloseTo(200, -1.5);
    expect(await lastBlocks(site)).toEqual(['2024-09', '2024-10']);
    await expect(site.answer(count({ from: '2024-07', to: '2024-09' }), 3)).rejects.toMatchObject({
      code: 'budget_exceeded',
      detail: expect.stringContaining('2024-08') as string,
    });
    const { planned, quote } = await site.contribute.price(
      count({ from: '2024-08', to: '2024-08' }),
      site.asker,
    );
    expect([planned.blocks, quote.fits]).toEqual([['2024-08'], false]);
  });

  test('must name them where the site has no first month, and must not where it keeps none', async () => {
    const records = await admitted();
    const without = await siteOf(records, { limits });
    await expect(without.answer(count())).rejects.toMatchObject({
      code: 'invalid_request',
      next: expect.stringContaining('privacy.data_block_first') as string,
    });
    const off = await siteOf(records, { limits: DEFAULT_LIMITS });
    await expect(off.answer(count({ from: '2024-08', to: '2024-08' }))).rejects.toMatchObject({
      code: 'invalid_request',
      next: expect.stringContaining('privacy.data_blocks') as string,
    });
    expect(off.ledger.head().counter).toBe(0);
  });

  test('stops when a month is used up, and goes on with the others', async () => {
    const site = await siteOf(await admitted(), { limits });
    let refused: unknown;
    for (let id = 1; id < 200 && refused === undefined; id += 1)
      refused = await site.answer(count({ from: '2024-08', to: '2024-08' }), id).then(
        () => undefined,
        (error: unknown) => error,
      );
    expect(refused).toMatchObject({ code: 'budget_exceeded', facts: { ledger: 'block/2024-08' } });
    await site.answer(count({ from: '2024-09', to: '2024-09' }), 500);
  });
});
