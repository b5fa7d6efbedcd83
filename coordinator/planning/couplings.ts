/** Pairs of tasks whose costs depend on each other's place, and the groups that such pairs tie together. */

import type { Coupling } from './problem.ts';

export type { Coupling };

/** Tasks in one declared group at most, and groups at once: 5 tasks over 10 sites have 100,000 joint places, which can be enumerated. */
export const GROUP_TASKS_MAX = 5;
export const GROUPS_MAX = 50;

export interface GroupLimits {
  readonly tasksMax: number;
  readonly groupsMax: number;
}
export const GROUP_LIMITS: GroupLimits = { tasksMax: GROUP_TASKS_MAX, groupsMax: GROUPS_MAX };

/** Connected components of the coupling graph, each in ascending order, ordered by their first task; a task without couplings is its own. */
export const componentsOf = (
  tasks: number,
  couplings: readonly Coupling[],
): readonly (readonly number[])[] => {
  const parent = Int32Array.from({ length: tasks }, (_, at) => at);
  const rootOf = (task: number): number => {
    let root = task;
    while (parent[root] !== root) root = parent[root]!;
    for (let at = task; parent[at] !== root;) {
      const next = parent[at]!;
      parent[at] = root;
      at = next;
    }
    return root;
  };
  for (const { first, second } of couplings) parent[rootOf(first)] = rootOf(second);
  const groups = new Map<number, number[]>();
  for (let task = 0; task < tasks; task += 1) {
    const root = rootOf(task);
    const group = groups.get(root);
    if (group === undefined) groups.set(root, [task]);
    else group.push(task);
  }
  return [...groups.values()];
};

/** A token shared by requests of one conversation or prefix, and one shared by requests that should not meet. Both are opaque. */
export interface CouplingTokens {
  readonly affinity?: string | undefined;
  readonly apart?: string | undefined;
}

/**
 * Couplings among open tasks: consecutive holders of a token are tied, so a group of n has n − 1 ties, and no group grows past
 * `tasksMax`; further holders begin another. At most `groupsMax` groups; what comes later is planned on its own.
 */
export const couplingsOf = (
  tasks: readonly CouplingTokens[],
  weights: { readonly affinity: number; readonly apart: number },
  { tasksMax, groupsMax }: GroupLimits = GROUP_LIMITS,
): readonly Coupling[] => {
  const couplings: Coupling[] = [];
  let groups = 0;
  const tie = (tokenOf: (task: CouplingTokens) => string | undefined, weight: number): void => {
    const held = new Map<string, number[]>();
    tasks.forEach((task, at) => {
      const token = tokenOf(task);
      if (token === undefined) return;
      const group = held.get(token);
      if (group === undefined || group.length >= tasksMax) {
        held.set(token, [at]);
        return;
      }
      // A group within the limit may still grow.
      if (group.length === 1 && groups >= groupsMax) return;
      if (group.length === 1) groups += 1;
      couplings.push({ first: group.at(-1)!, second: at, weight });
      group.push(at);
    });
  };
  tie(({ affinity }) => affinity, weights.affinity);
  tie(({ apart }) => apart, weights.apart);
  return couplings;
};
