/** The planning layer of a real federation: chats are placed, explained, and the planner's own figures follow the load. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  CoherenceStatus,
  OptimizationStatus,
  type PlanCandidate,
  PlanRecord,
  QuantumStatus,
} from '../../shared/wire/plan.ts';
import { type MockLlm, startMockLlm } from '../fixtures/mock-llm.ts';
import { eventually, qfl, qflError, qflJson } from '../fixtures/processes.ts';
import { backendConfig, call, type Federation, startFederation } from './federation.ts';
import { z } from 'zod';

const MODEL = 'steady';
const SLOW = 'slow-and-steady';
let federation: Federation;
let mock: MockLlm;
let key: string;

const chat = () =>
  call(`${federation.site('alpha').url}/v1/chat/completions`, {
    key,
    body: { model: MODEL, messages: [{ role: 'user', content: 'Is the plan safe?' }] },
  });
const metric = (text: string, name: string): number =>
  Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
/** Weighted milliseconds of one site, without what load adds. */
const costAlone = ({ latencyCost, preferenceCost, moneyCost, privacyCost }: PlanCandidate): number =>
  [latencyCost, preferenceCost, moneyCost, privacyCost].reduce<number>((sum, part) => sum + (part ?? 0), 0);
const planList = () => qflJson(z.array(PlanRecord), ['plan', 'list', '--home', federation.coordinator.home]);

beforeAll(async () => {
  mock = await startMockLlm([MODEL, SLOW]);
  const config = backendConfig('wardserver', mock.url, 2);
  federation = await startFederation({
    sites: [{ name: 'alpha' }, { name: 'bravo', config }, { name: 'charlie', config }],
  });
  key = await federation.site('alpha').key('doctor');
}, 60_000);

afterAll(async () => {
  await federation?.close();
  await mock?.close();
});

describe('the planning layer', () => {
  test('places chats, keeps why, and shows it', async () => {
    const answers = await Promise.all(Array.from({ length: 6 }, chat));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 200));
    const plans = await planList();
    expect(plans.length).toBe(6);
    const [plan] = plans;
    expect(new Set(plans.map(({ site }) => site))).toEqual(new Set(['bravo', 'charlie']));
    for (const one of plans) {
      expect(one.bound).toBeLessThanOrEqual(one.cost);
      expect(one.candidates.filter(({ verdict }) => verdict === 'chosen').map(({ site }) => site)).toEqual([
        one.site,
      ]);
    }
    const explained = await qfl(['plan', 'explain', plan!.queryId, '--home', federation.coordinator.home]);
    expect(explained.out).toContain(`went to ${plan!.site}`);
    expect(explained.out).toMatch(/seed \d+/);
    const unknown = await qflError([
      'plan',
      'explain',
      'f'.repeat(32),
      '--home',
      federation.coordinator.home,
    ]);
    expect(unknown.code).toBe('not_found');
  });

  test('tells its state as measured, in words that say what it is', async () => {
    const { coordinator, adminKey } = federation;
    const read = async (path: string) => (await call(coordinator.url + path, { key: adminKey })).body;
    const status = QuantumStatus.parse(await read('/quantum/status'));
    expect(status.what).toMatch(/classical ensemble/);
    expect(status.superposition.deferral).toMatchObject({ isOn: false, savedMs: null });
    expect(status.planner.planned).toBeGreaterThanOrEqual(6);
    expect(status.planner.planningP95Seconds).toBeLessThan(3);
    const coherence = CoherenceStatus.parse(await read('/quantum/coherence'));
    expect(coherence.telemetryAgesMs.length).toBe(3);
    const optimization = OptimizationStatus.parse(await read('/quantum/optimization/status'));
    expect(optimization.predictor.observations).toBeGreaterThan(0);
    expect((await call(`${coordinator.url}/quantum/status`)).status).toBe(401);
    expect((await call(`${coordinator.url}/v1/plans`)).status).toBe(401);
    const { body } = await call(`${coordinator.url}/metrics`);
    const before = metric(z.string().parse(body), 'qfl_planning_planned');
    await chat();
    const after = z.string().parse((await call(`${coordinator.url}/metrics`)).body);
    expect(metric(after, 'qfl_planning_planned')).toBe(before + 1);
    for (const name of [
      'superposition_tasks_active',
      'task_planning_time_p95',
      'interference_optimization_gain',
    ])
      expect(after).toMatch(new RegExp(`^${name}\\{`, 'm'));
  });

  test('keeps the turns of a conversation at one site, sends copies to two, and measures how requests hang together', async () => {
    const talk = async (metadata: object, content: string) => {
      const { status, headers } = await call(`${federation.site('alpha').url}/v1/chat/completions`, {
        key,
        body: { model: SLOW, messages: [{ role: 'user', content }], metadata },
      });
      expect(status).toBe(200);
      return headers.get('x-qfl-site');
    };
    const conversations = ['one', 'two', 'three'];
    const sites = new Map(conversations.map((id) => [id, [] as (string | null)[]]));
    // One at a time, so that load weighs the same at every site.
    for (let turn = 0; turn < 4; turn += 1)
      for (const id of conversations)
        sites.get(id)?.push(await talk({ conversation_id: id }, `turn ${turn} of ${id}`));
    // Every later turn is drawn to where the one before was served, and leaves it only for a site that was measured faster by more than the draw is worth.
    // Of this model alone: the same words asked six times at once before are one conversation too, and there load decides.
    const drawn = (await planList()).filter(
      ({ model, candidates }) =>
        model === SLOW && candidates.some(({ preferenceCost }) => (preferenceCost ?? 0) < 0),
    );
    expect(drawn.length).toBeGreaterThanOrEqual(9);
    for (const { candidates } of drawn) {
      const chosen = candidates.find(({ verdict }) => verdict === 'chosen')!;
      const rivals = candidates.filter(
        ({ verdict, busySlots, slots }) =>
          verdict === 'possible' && busySlots === chosen.busySlots && slots === chosen.slots,
      );
      for (const rival of rivals) expect(costAlone(chosen)).toBeLessThanOrEqual(costAlone(rival) + 1e-6);
    }
    const stayed = [...sites.values()].flatMap((turns) =>
      turns.slice(1).filter((site, before) => site === turns[before]),
    );
    expect(stayed.length).toBeGreaterThan(0);
    const groups = await Promise.all(
      ['g', 'h', 'i'].map(async (group) => {
        const copy = () => talk({ redundancy_group: group }, 'a second opinion');
        return new Set(await Promise.all([copy(), copy()])).size;
      }),
    );
    expect(groups.filter((size) => size === 2).length).toBeGreaterThanOrEqual(2);
    const status = async () =>
      QuantumStatus.parse(
        (await call(`${federation.coordinator.url}/quantum/status`, { key: federation.adminKey })).body,
      );
    const tied: PlanRecord[] = [];
    // Those that come in one turn of the event loop are planned together: some of every wave do, on a quiet machine.
    await eventually(
      'requests of one conversation are planned together and measured as a group',
      async () => {
        await Promise.all(
          Array.from({ length: 8 }, (_, at) => talk({ conversation_id: 'crowd' }, `part ${at}`)),
        );
        tied.push(...(await planList()).filter(({ couplings }) => couplings.length > 0));
        const { entanglement } = await status();
        return tied.length > 0 && entanglement.groups > 0 && entanglement.strengthAverage !== null;
      },
    );
    const plans = await planList();
    expect(new Set(tied.map(({ solver }) => solver))).toEqual(new Set(['coupled']));
    expect(plans.every(({ bound, cost }) => bound <= cost)).toBe(true);
    // Of what was said, nothing is kept; of conversations, not even their names.
    expect(JSON.stringify(plans)).not.toMatch(/crowd|second opinion|turn \d/);
    const { body } = await call(`${federation.coordinator.url}/metrics`);
    const text = z.string().parse(body);
    expect(metric(text, 'entanglement_strength_avg')).not.toBeNaN();
    expect(metric(text, 'qfl_event_loop_delay_max_seconds')).toBeGreaterThan(0);
  });

  test('explains plans after a restart', async () => {
    const [plan] = await planList();
    const { coordinator } = federation;
    await coordinator.program.stop();
    await coordinator.restart();
    const explained = await qfl(['plan', 'explain', plan!.queryId, '--home', coordinator.home]);
    expect(explained.out).toContain(`went to ${plan!.site}`);
    expect(explained.out).toMatch(/By cause: .*latency \d+/);
    await eventually('the sites are back', async () => (await chat()).status === 200);
  });

  test('moves on when a site is killed, and the plan says who refused', async () => {
    await federation.site('bravo').program.kill();
    await eventually('every chat is answered by the site that is left', async () => {
      const answers = await Promise.all([chat(), chat()]);
      return answers.every(({ status }) => status === 200);
    });
    const [newest] = await planList();
    expect(newest?.site).toBe('charlie');
  });
});
