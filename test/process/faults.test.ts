/** Parts killed with -9 at the worst moments: an answer is whole or an error, a spend is counted once, a log loses nothing. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { StatsResult } from '../../shared/wire/stats.ts';
import { type MockLlm, startMockLlm, TOKENS } from '../fixtures/mock-llm.ts';
import { eventually, qfl, qflJson } from '../fixtures/processes.ts';
import { type RecordingProxy, startRecordingProxy } from '../fixtures/recording-proxy.ts';
import {
  type Answer,
  backendConfig,
  call,
  type Federation,
  type Site,
  startFederation,
} from './federation.ts';
import { openAnswer } from './sse.ts';

const MODELS = ['steady', 'held-one'];
const asks = (model: string) => ({ model, messages: [{ role: 'user', content: 'Is the plan safe?' }] });
const COUNT = { count: 'Condition', epsilon: '0.1' };

const Budgets = z.looseObject({
  ledgers: z.array(z.looseObject({ ledger: z.string(), spentEpsilon: z.number() })),
});
const History = z.array(
  z.looseObject({ record: z.looseObject({ type: z.string(), queryId: z.string().optional() }) }),
);
const Status = z.looseObject({ auditSize: z.number() });
const Report = z.looseObject({
  outcome: z.string(),
  logs: z.array(z.looseObject({ name: z.string(), size: z.number() })),
});

let federation: Federation;
let mock: MockLlm;
let proxy: RecordingProxy;
let alpha: Site;
let bravo: Site;
let key: string;
let bravoKey: string;

const chat = (model: string): Promise<Answer> =>
  call(`${alpha.url}/v1/chat/completions`, { key, body: asks(model) });
const lifetimeSpent = async (site: Site, siteKey: string): Promise<number> => {
  const { ledgers } = Budgets.parse((await call(`${site.url}/privacy/budgets`, { key: siteKey })).body);
  return ledgers.find(({ ledger }) => ledger === 'site_lifetime')?.spentEpsilon ?? Number.NaN;
};
const isReady = async (site: Site): Promise<boolean> => (await call(`${site.url}/ready`)).status === 200;
/** Audit entries of the coordinator and of both sites. */
const auditSizes = (): Promise<number[]> =>
  Promise.all(
    [federation.coordinator, alpha, bravo].map(
      async (seat) => Status.parse((await seat.asOperator('/status')).body).auditSize,
    ),
  );
/** A chat through the whole path works again. */
const chatsAgain = (): Promise<unknown> =>
  eventually('a chat through the federation', async () => (await chat('steady')).status === 200);

beforeAll(async () => {
  mock = await startMockLlm(MODELS);
  federation = await startFederation({
    sites: [
      { name: 'alpha' },
      {
        name: 'bravo',
        config: backendConfig('wardserver', mock.url),
        through: async (url) => {
          proxy = await startRecordingProxy(Number(new URL(url).port));
          return `http://127.0.0.1:${proxy.port}`;
        },
      },
    ],
  });
  alpha = federation.site('alpha');
  bravo = federation.site('bravo');
  const sample = join(federation.folder, 'sample');
  await qfl(['agent', 'sample', sample, '--site', 'sample', '--patients', '30']);
  const fill = (site: Site) => qfl(['agent', 'import', join(sample, 'fhir'), '--home', site.home]);
  [key, bravoKey] = await Promise.all([alpha.key('doctor'), bravo.key('doctor'), fill(alpha), fill(bravo)]);
  await eventually('both hold records', async () =>
    (await alpha.status()).sites?.every(({ records }) => records),
  );
});
afterAll(async () => {
  await federation.close();
  await Promise.all([mock.close(), proxy.close()]);
});

/** A stream of which the asker has seen two tokens. */
const halfAnswer = async () => {
  const answer = await openAnswer(alpha.url, key, asks('held-one'));
  await answer.until(JSON.stringify(TOKENS[1]));
  return answer;
};
const expectCut = (text: string): void => {
  expect(text).toContain('"code":"cut"');
  expect(text).not.toContain('[DONE]');
  expect(text).not.toContain(JSON.stringify(TOKENS.at(-1)));
};

describe('killed in mid-stream', () => {
  test('the serving agent: the asker sees the cut', async () => {
    const answer = await halfAnswer();
    await bravo.program.kill();
    expectCut(await answer.rest());
    await bravo.restart();
    await federation.settled();
    expect((await bravo.status()).link).toBe('online');
  });
  test('the coordinator: the asker sees the cut; restarted, the agents return by themselves and no log has lost an entry', async () => {
    const before = await auditSizes();
    const answer = await halfAnswer();
    await federation.coordinator.program.kill();
    expectCut(await answer.rest());
    await eventually('the back end is told', () => mock.open === 0);
    expect(await chat('steady')).toMatchObject({ status: 503, body: { error: { code: 'not_connected' } } });
    await federation.coordinator.restart();
    await federation.settled();
    await chatsAgain();
    const after = await auditSizes();
    after.forEach((size, at) => expect(size).toBeGreaterThan(before[at]!));
    const file = join(federation.folder, 'audit.tar');
    await qflJson(z.unknown(), ['audit', 'export', '--out', file, '--home', federation.coordinator.home]);
    const policy = join(federation.folder, 'policy.txt');
    await qflJson(z.unknown(), ['audit', 'policy', '--out', policy, '--home', alpha.home]);
    const { outcome, logs } = await qflJson(Report, ['audit', 'verify', file, '--policy', policy]);
    expect(outcome).toBe('good');
    expect(logs.length).toBe(4);
    for (const [at, name] of ['coordinator', 'alpha', 'bravo'].entries()) {
      const log = logs.find((one) => one.name === name);
      expect(log?.size).toBeGreaterThanOrEqual(after[at]!);
    }
  });
});

describe('an agent killed with -9', () => {
  test('comes back as itself, with all that it spent, and serves', async () => {
    const asked = await call(`${alpha.url}/v1/stats`, { key, body: COUNT });
    expect(asked.status).toBe(200);
    const { fingerprint } = await bravo.status();
    const spent = await lifetimeSpent(bravo, bravoKey);
    expect(spent).toBeGreaterThan(0);
    await bravo.program.kill();
    await bravo.restart();
    await eventually('it is ready', () => isReady(bravo));
    expect((await bravo.status()).fingerprint).toBe(fingerprint);
    expect(await lifetimeSpent(bravo, bravoKey)).toBe(spent);
    await federation.settled();
    await chatsAgain();
  });
});

describe('a statistic under way', () => {
  /** Asks, and stops at the moment when bravo has charged and answered, but nobody has heard it. */
  const askAndHoldAnswer = async () => {
    const spent = { alpha: await lifetimeSpent(alpha, key), bravo: await lifetimeSpent(bravo, bravoKey) };
    proxy.hold('up');
    const asking = call(`${alpha.url}/v1/stats`, { key, body: COUNT }).catch(() => undefined);
    await eventually('both have charged', async () => {
      const now = { alpha: await lifetimeSpent(alpha, key), bravo: await lifetimeSpent(bravo, bravoKey) };
      return now.alpha > spent.alpha && now.bravo > spent.bravo;
    });
    const after = { alpha: await lifetimeSpent(alpha, key), bravo: await lifetimeSpent(bravo, bravoKey) };
    return { asking, after };
  };
  const expectSpent = async (after: { alpha: number; bravo: number }): Promise<void> => {
    expect(await lifetimeSpent(alpha, key)).toBe(after.alpha);
    expect(await lifetimeSpent(bravo, bravoKey)).toBe(after.bravo);
  };

  test('when the coordinator dies is finished after its return, with one spend at each site', async () => {
    const { asking, after } = await askAndHoldAnswer();
    await federation.coordinator.program.kill();
    proxy.cut();
    proxy.release();
    await federation.coordinator.restart();
    const answer = await asking;
    expect(answer?.status).toBe(200);
    const result = StatsResult.parse(answer?.body);
    expect(result.complete).toBe(true);
    await expectSpent(after);
    const fetched = await call(`${alpha.url}/v1/stats/${result.queryId}`, { key });
    expect(fetched).toMatchObject({ status: 200, body: result });
    const other = await alpha.key('doctor', 'surgery');
    expect((await call(`${alpha.url}/v1/stats/${result.queryId}`, { key: other })).status).toBe(404);
    await federation.settled();
  });

  test('when the asking agent dies is finished after its return, with one spend at each site', async () => {
    const { asking, after } = await askAndHoldAnswer();
    // Its own part is charged before it is computed; killed in between, it would rightly be lost.
    await eventually('its own part is committed', async () => {
      const records = await qflJson(History, ['privacy', 'history', '--home', alpha.home]);
      const ended = records.filter(({ record }) => record.type === 'committed').length;
      return ended === records.filter(({ record }) => record.type === 'reserved').length;
    });
    await alpha.program.kill();
    await asking;
    proxy.cut();
    proxy.release();
    await alpha.restart();
    const history = await qflJson(History, ['privacy', 'history', '--home', bravo.home]);
    const queryId = history.find(({ record }) => record.type === 'reserved')?.record.queryId;
    const result = await eventually('the result can be fetched', async () => {
      const { status, body } = await call(`${alpha.url}/v1/stats/${queryId}`, { key });
      return status === 200 ? StatsResult.parse(body) : undefined;
    });
    expect(result.sites.map(({ site, status }) => [site, status])).toEqual([
      ['alpha', 'answered'],
      ['bravo', 'answered'],
    ]);
    await expectSpent(after);
  });
});
