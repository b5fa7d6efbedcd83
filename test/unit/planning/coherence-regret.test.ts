/** Coherence is worth its name only if plans made from old telemetry are worse the less coherent they are. */
import { expect, it } from 'vitest';
import { coherenceOf, createDecayMeter, fidelityOf } from '../../../coordinator/planning/coherence.ts';
import { boltzmannWeights } from '../../../coordinator/planning/ensemble.ts';
import { normalFrom } from '../../../coordinator/planning/ensemble.ts';
import { seeded } from '../../../shared/seeded.ts';

const [SITES, STEPS, STEP_MS, TAU] = [5, 6_000, 100, 40] as const;
const BINS = [1, 2, 4, 8, 16, 32, 64] as const;

/** What a request would cost at each site over time: queues that fill and drain (mean-reverting), as telemetry would tell it. */
const costTrace = (seed: number): readonly number[][] => {
  const random = seeded(seed);
  let costs = Array.from({ length: SITES }, () => 300);
  return Array.from({ length: STEPS }, () => {
    costs = costs.map((cost) => cost + 0.02 * (300 - cost) + 15 * normalFrom(random));
    return costs;
  });
};

const ranksOf = (values: readonly number[]): number[] => {
  const order = [...values].toSorted((a, b) => a - b);
  return values.map((value) => order.indexOf(value));
};

/** Spearman's ρ without ties. */
const spearman = (left: readonly number[], right: readonly number[]): number => {
  const [a, b] = [ranksOf(left), ranksOf(right)];
  const squares = a.reduce((sum, rank, at) => sum + (rank - b[at]!) ** 2, 0);
  return 1 - (6 * squares) / (a.length * (a.length ** 2 - 1));
};

it.each([1, 2, 3])('coherence falls as the realised regret of stale plans rises (trace %i)', (seed) => {
  const trace = costTrace(seed);
  const meter = createDecayMeter();
  const placed = trace.map((costs) => boltzmannWeights(costs, TAU));
  for (let at = 64; at < STEPS; at += 7)
    for (const age of [1, 4, 16]) meter.observe(age * STEP_MS, fidelityOf(placed[at]!, placed[at - age]!));
  const t2Ms = meter.t2Ms()!;
  expect(t2Ms).toBeGreaterThan(0);
  const bins = BINS.map((age) => {
    let [regret, coherence, count] = [0, 0, 0];
    for (let at = 64; at < STEPS; at += 3) {
      const stale = placed[at - age]!;
      const now = trace[at]!;
      const chosen = stale.indexOf(Math.max(...stale));
      regret += now[chosen]! - Math.min(...now);
      coherence += coherenceOf(stale, Array<number>(SITES).fill(age * STEP_MS), t2Ms) ?? 1;
      count += 1;
    }
    return { regret: regret / count, coherence: coherence / count };
  });
  expect(
    spearman(
      bins.map(({ coherence }) => coherence),
      bins.map(({ regret }) => regret),
    ),
  ).toBeLessThanOrEqual(-0.8);
});
