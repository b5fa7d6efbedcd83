/** The limits that the configuration sets are the planner's: groups, tasks in one, requests held open, plans in the ensemble, hysteresis. */
import { describe, expect, it } from 'vitest';
import { CANDIDATE_DEFAULTS, type CandidateSite } from '../../../coordinator/planning/candidates.ts';
import { batchProblem } from '../../../coordinator/planning/batch.ts';
import { createDesk, type DeskRequest, type DeskTuning } from '../../../coordinator/planning/desk.ts';
import { ENSEMBLE_PLANS_MIN, lookAt, poseLook } from '../../../coordinator/planning/look.ts';
import { createObservatory } from '../../../coordinator/planning/observatory.ts';
import { createPredictor } from '../../../coordinator/planning/predictor.ts';
import { STRATEGY_WEIGHTS } from '../../../coordinator/planning/strategies.ts';
import { siteIdOf } from './instances.ts';

const [north, south] = [siteIdOf(0), siteIdOf(1)];
const sites: CandidateSite[] = [north, south].map((siteId) => ({
  siteId,
  models: ['m'],
  slots: 60,
  busySlots: 0,
}));
const request = (at: number, rest: Partial<DeskRequest> = {}): DeskRequest => ({
  taskId: `t${at}`,
  model: 'm',
  allowedSites: [north, south],
  excludedSites: [],
  sizeBucketBytes: 256,
  arrivedMs: 0,
  deadlineMs: 60_000,
  ...rest,
});
const weights = STRATEGY_WEIGHTS.balanced;
const noisy = () => {
  const predictor = createPredictor();
  for (const siteId of [north, south])
    for (let at = 0; at < 40; at += 1) predictor.observe(siteId, 'm', at % 2 === 0 ? 200 : 1_800, 256);
  return predictor;
};
const input = (requests: readonly DeskRequest[], rest: object = {}) => ({
  requests,
  sites,
  predictor: noisy(),
  options: { ...CANDIDATE_DEFAULTS, weights },
  seed: 1,
  ...rest,
});

describe('limits of the planner', () => {
  it('max_entangled_tasks and max_entanglements bound the couplings of a problem', () => {
    const requests = Array.from({ length: 24 }, (_, at) =>
      request(at, { affinity: String(at % 4).repeat(32) }),
    );
    const tiesOf = (groups: { tasksMax: number; groupsMax: number }) =>
      (batchProblem(input(requests, { groups })).couplings ?? []).length;
    // Four tokens of six requests each.
    expect(tiesOf({ tasksMax: 5, groupsMax: 50 })).toBe(4 * 4);
    expect(tiesOf({ tasksMax: 3, groupsMax: 50 })).toBe(4 * 2 * 2);
    expect(tiesOf({ tasksMax: 3, groupsMax: 1 })).toBe(2);
    expect(tiesOf({ tasksMax: 1, groupsMax: 50 })).toBe(0);
  });

  it('max_superpositions bounds what is held open and planned together', () => {
    const posedOf = (superpositionsMax: number): number => {
      const desk = createDesk(noisy(), () => 1);
      for (let at = 0; at < 40; at += 1) desk.add(request(at));
      const tuning: DeskTuning = {
        weights,
        deferred: true,
        queuePerSlot: 4,
        coupled: true,
        superpositionsMax,
      };
      return desk.pose(0, sites, tuning).posed.flatMap(({ requests }) => requests).length;
    };
    expect(posedOf(100)).toBe(40);
    expect(posedOf(7)).toBe(7);
  });

  it('coherence_pool_size bounds the plans that are drawn, time ends the drawing sooner', () => {
    const look = (plansMax: number, timeMs: number) =>
      lookAt(poseLook(input([request(0), request(1)])), {
        seed: 1,
        plansMax,
        timeMs,
        nowMs: () => performance.now(),
      });
    expect(look(64, 60_000).plans).toBe(64);
    expect(look(8, 60_000).plans).toBe(8);
    expect(look(1_000_000, 0).plans).toBe(ENSEMBLE_PLANS_MIN);
  });

  it('interference_resolution decides whether a standing assignment is changed', () => {
    const sightOf = (requests: readonly DeskRequest[], costs: readonly [number, number], seed: number) => {
      const predictor = noisy();
      const posed = poseLook({ ...input(requests), predictor, seed });
      const [task] = posed.problem.tasks;
      const problem = {
        ...posed.problem,
        tasks: [
          {
            ...task!,
            options: [north, south].map((siteId, at) => ({
              siteId,
              cost: { latency: costs[at]!, preference: 0 },
            })),
          },
        ],
      };
      const look = lookAt(
        { problem, errors: posed.errors },
        { seed, plansMax: 64, timeMs: 60_000, nowMs: () => performance.now() },
      );
      return {
        look,
        requests,
        waiting: new Set(['t0']),
        commitMsOf: () => 60_000,
        ageMsOf: () => 0,
        nowMs: 1,
      };
    };
    const churnOf = (resolution: number): number => {
      const observatory = createObservatory(() => resolution);
      observatory.saw([sightOf([request(0)], [1_000, 1_010], 1)]);
      // The other site is a little better now.
      observatory.saw([sightOf([request(0)], [1_010, 1_000], 2)]);
      return observatory.report().churn;
    };
    expect(churnOf(0)).toBe(1);
    expect(churnOf(10)).toBe(0);
  });
});
