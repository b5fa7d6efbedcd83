/** Dependencies of the tasks of one request: names become ids, cycles and unknown tasks are refused before anything is kept. */
import { QflError } from '../../shared/errors.ts';
import { TaskId } from '../../shared/ids.ts';
import type { TaskRequest } from '../../shared/wire/task.ts';

const NAMED_MAX = 8;

const refuse = (detail: string, next: string, facts: Readonly<Record<string, unknown>> = {}): never => {
  throw new QflError('invalid_request', { detail, next, facts });
};

const refsOf = (requests: readonly TaskRequest[]): ReadonlyMap<string, number> => {
  const refs = new Map<string, number>();
  requests.forEach(({ ref }, at) => {
    if (ref === undefined) return;
    if (refs.has(ref)) refuse(`two tasks of this request are called ${ref}`, 'Give each its own ref.');
    refs.set(ref, at);
  });
  return refs;
};

/** A cycle among what is left, as names: each of these has a dependency that is also left. */
const cycleIn = (
  left: ReadonlySet<number>,
  needs: readonly (readonly number[])[],
  nameOf: (at: number) => string,
) => {
  const path: number[] = [];
  let [at] = left;
  while (at !== undefined && !path.includes(at)) {
    path.push(at);
    at = needs[at]?.find((one) => left.has(one));
  }
  const names = path.slice(path.indexOf(at ?? -1)).map(nameOf);
  const shown = names.length > NAMED_MAX ? [...names.slice(0, NAMED_MAX), '…'] : names;
  return [...shown, names[0] ?? ''].join(' → ');
};

/**
 * The order in which the tasks of a request can be made, dependencies first (Kahn 1962); among equals, the request's own.
 * @throws QflError `invalid_request` with the cycle, or with the name that nothing has
 */
export const creationOrder = (
  requests: readonly TaskRequest[],
): { readonly order: readonly number[]; readonly refs: ReadonlyMap<string, number> } => {
  const refs = refsOf(requests);
  const needs = requests.map(({ dependsOn }) =>
    dependsOn
      .filter((name) => !TaskId.safeParse(name).success)
      .map(
        (ref) =>
          refs.get(ref) ??
          refuse(
            `no task of this request is called ${ref}`,
            'Name a ref of this request, or the id of a task.',
          ),
      ),
  );
  const nameOf = (at: number): string => requests[at]?.ref ?? `tasks[${at}]`;
  const left = new Set(requests.keys());
  const missing = needs.map((all) => new Set(all).size);
  const dependants = new Map<number, number[]>();
  needs.forEach((all, at) => {
    for (const one of new Set(all)) dependants.set(one, [...(dependants.get(one) ?? []), at]);
  });
  const order = [...left].filter((at) => missing[at] === 0);
  for (let head = 0; head < order.length; head += 1) {
    const made = order[head]!;
    left.delete(made);
    for (const at of dependants.get(made) ?? []) {
      missing[at]! -= 1;
      if (missing[at] === 0) order.push(at);
    }
  }
  if (left.size > 0) {
    const cycle = cycleIn(left, needs, nameOf);
    refuse(`the dependencies run in a circle: ${cycle}`, 'Take one of these dependencies out.', { cycle });
  }
  return { order, refs };
};
