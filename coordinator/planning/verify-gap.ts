/**
 * Checks a solution of a generalized assignment problem against nothing but the problem: does the plan fit and cost what it says, and do the
 * multipliers prove their bound? Weak duality: for any λ, no plan costs less than Σ_j λ_j − Σ_i max{Σ_{j∈S} (λ_j − c_ij) : S fits into i}.
 * Integers throughout; shares no code with the solver.
 */
export interface GapProblem {
  readonly agents: number;
  readonly jobs: number;
  /** Agent-major. */
  readonly costs: ArrayLike<number>;
  readonly weights: ArrayLike<number>;
  readonly capacities: ArrayLike<number>;
}

export interface GapCheck {
  readonly faults: readonly string[];
  readonly cost: number | null;
  /** What the multipliers prove, an integer; costs being integers, the bound is rounded up. */
  readonly bound: number;
}

/** Best total of some of the (value, weight) pairs within the room, by the list of undominated (weight, value) sums (Nemhauser, Ullmann 1969). */
export const mostWithin = (pairs: readonly { value: number; weight: number }[], room: number): number => {
  const worth = pairs.filter(({ value, weight }) => value > 0 && weight <= room);
  if (worth.reduce((sum, { weight }) => sum + weight, 0) <= room)
    return worth.reduce((sum, { value }) => sum + value, 0);
  let states: { weight: number; value: number }[] = [{ weight: 0, value: 0 }];
  for (const { value, weight } of worth) {
    const added = states
      .filter((state) => state.weight + weight <= room)
      .map((state) => ({ weight: state.weight + weight, value: state.value + value }));
    const merged = [...states, ...added].toSorted(
      (left, right) => left.weight - right.weight || right.value - left.value,
    );
    let most = -1;
    states = merged.filter((state) => {
      if (state.value <= most) return false;
      most = state.value;
      return true;
    });
  }
  return states.at(-1)?.value ?? 0;
};

/**
 * @param assignment agent of each job; null when there is none
 * @param multipliers integers of 1/scale, one per job
 */
export const verifyGap = (
  { agents, jobs, costs, weights, capacities }: GapProblem,
  assignment: ArrayLike<number> | null,
  multipliers: ArrayLike<number>,
  scale: number,
): GapCheck => {
  const faults: string[] = [];
  let scaled = 0;
  for (let job = 0; job < jobs; job += 1) scaled += multipliers[job] ?? Number.NaN;
  for (let agent = 0; agent < agents; agent += 1) {
    const pairs = Array.from({ length: jobs }, (_, job) => ({
      value: (multipliers[job] ?? 0) - scale * (costs[agent * jobs + job] ?? 0),
      weight: weights[agent * jobs + job] ?? 0,
    }));
    scaled -= mostWithin(pairs, capacities[agent] ?? 0);
  }
  const whole = Array.from({ length: jobs }, (_, job) => multipliers[job]).every(Number.isSafeInteger);
  if (!whole || !Number.isSafeInteger(scaled)) faults.push('the multipliers are not integers');
  const bound = Math.ceil(scaled / scale);
  if (assignment === null) return { faults, cost: null, bound };
  let cost = 0;
  const load = Array.from({ length: agents }, () => 0);
  for (let job = 0; job < jobs; job += 1) {
    const agent = assignment[job] ?? -1;
    if (!Number.isInteger(agent) || agent < 0 || agent >= agents) {
      faults.push(`job ${job} is at no agent`);
      continue;
    }
    cost += costs[agent * jobs + job] ?? Number.NaN;
    load[agent] = (load[agent] ?? 0) + (weights[agent * jobs + job] ?? Number.NaN);
  }
  load.forEach((used, agent) => {
    if (!(used <= (capacities[agent] ?? 0)))
      faults.push(`agent ${agent} takes ${used} of ${capacities[agent]}`);
  });
  if (bound > cost) faults.push('the bound is above the cost');
  return { faults, cost, bound };
};
