/**
 * What hangs together: tasks, the sites that may serve them, and couplings as one graph. A change touches the component it lies in; all others keep
 * their plan, because no slot, token or coupling leads there.
 */
import { type Coupling, componentsOf } from './couplings.ts';

/** Tasks of each component, ascending; a task with no site stands alone. */
export const planningComponents = (
  mayServe: readonly (readonly string[])[],
  couplings: readonly Coupling[],
): readonly (readonly number[])[] => {
  const tasks = mayServe.length;
  const siteAt = new Map<string, number>();
  const edges: Coupling[] = [...couplings];
  mayServe.forEach((sites, task) => {
    for (const site of sites) {
      const at = siteAt.get(site) ?? tasks + siteAt.size;
      siteAt.set(site, at);
      edges.push({ first: task, second: at, weight: 0 });
    }
  });
  return componentsOf(tasks + siteAt.size, edges)
    .map((nodes) => nodes.filter((node) => node < tasks))
    .filter((nodes) => nodes.length > 0);
};

/** Tasks to plan again when a site changed: all of the component it lies in. */
export const touchedTasks = (
  mayServe: readonly (readonly string[])[],
  couplings: readonly Coupling[],
  site: string,
): readonly number[] =>
  planningComponents(mayServe, couplings)
    .filter((tasks) => tasks.some((task) => mayServe[task]!.includes(site)))
    .flat();
