/** The replay on a small piece of the public trace: every request is answered under every policy, and the simulator's books balance. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, test } from 'vitest';
import { finish, type Policy, simulating } from '../../../coordinator/planning/simulate.ts';
import { STRATEGY_WEIGHTS } from '../../../coordinator/planning/strategies.ts';
import { BASELINES, desk } from '../../bench/replay-policies.ts';
import { federationOf, readTrace } from '../../bench/replay-trace.ts';
import { siteIdOf } from './instances.ts';

const trace = fileURLToPath(
  new URL('../../../../shared/data/llm-trace/AzureLLMInferenceTrace_code.csv.gz', import.meta.url),
);

describe('the simulator', () => {
  const requests = [0, 0, 50].map((atMs) => ({
    atMs,
    sizeBucketBytes: 1,
    priority: atMs === 50 ? 9 : 1,
    deadlineMs: 1e9,
    serviceMs: [100],
  }));
  const all: Policy = (() => {
    let arrived: number[] = [];
    return {
      arrive: (request: number) => void arrived.push(request),
      decide: () => arrived.splice(0).map((request) => ({ request, site: 0 })),
    };
  })();

  it('runs as many as there are slots, queues by its rule, and counts time', () => {
    const sites = [{ siteId: siteIdOf(0), slots: 1 }];
    const took = (rule: 'fifo' | 'priority') =>
      finish(simulating(sites, requests, all, rule)).outcomes.map((outcome) => outcome?.completionMs);
    expect(took('fifo')).toEqual([100, 200, 250]);
    expect(took('priority')).toEqual([100, 300, 150]);
    const { utilisation, endMs } = finish(simulating(sites, requests, all, 'fifo'));
    expect(utilisation).toBe(1);
    expect(endMs).toBe(300);
  });
});

test.skipIf(!existsSync(trace))(
  'every request of the public trace is answered under every policy (needs ../shared/data/llm-trace)',
  () => {
    const rows = readTrace(trace).slice(0, 250);
    expect(rows[0]).toMatchObject({ atMs: 0 });
    const federation = federationOf(rows, 0.8, 1);
    const tuning = { weights: STRATEGY_WEIGHTS.balanced, queuePerSlot: 100, coupled: true };
    for (const policy of [
      ...BASELINES,
      desk('held open', { ...tuning, deferred: true }),
      desk('at once', { ...tuning, deferred: false }),
    ]) {
      const { outcomes } = finish(
        simulating(federation.sites, federation.requests, policy.make(federation, 1), policy.rule),
      );
      expect([policy.name, outcomes.filter((outcome) => outcome === null)]).toEqual([policy.name, []]);
      outcomes.forEach((outcome, at) => {
        const own = federation.requests[at]!.serviceMs[outcome!.site]!;
        expect(outcome!.completionMs).toBeGreaterThanOrEqual(own - 1e-6);
      });
    }
  },
);

test('a file that is no trace is refused by what is wrong with it', () => {
  expect(() => readTrace(fileURLToPath(import.meta.url))).toThrowError(/not a trace/);
});
