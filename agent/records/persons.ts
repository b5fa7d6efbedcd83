/** Which patient records are one person: the connected parts of the graph that `Patient.link` draws. */
import { QflError } from '../../shared/errors.ts';
import type { Store } from '../../shared/store/port.ts';
import { BLIND_LENGTH, prefixOf } from './keys.ts';
import { LINKED_PATIENTS_MAX } from './limits.ts';

export interface Persons {
  /** The person's name for a linked patient; undefined for a patient without links, who is a person alone. */
  personOf(patient: string): string | undefined;
}

const rootOf = (parents: Map<string, string>, start: string): string => {
  let node = start;
  for (let parent = parents.get(node); parent !== undefined && parent !== node; parent = parents.get(node)) {
    // Path halving keeps chains short without a second pass.
    parents.set(node, parents.get(parent) ?? parent);
    node = parent;
  }
  return node;
};

/**
 * Union-find over every stored link; memory is bounded by `linkedMax` linked patients.
 * @throws QflError `too_large` above it: a count that cannot merge must not be made.
 */
export const loadPersons = async (store: Store, linkedMax = LINKED_PATIENTS_MAX): Promise<Persons> => {
  const parents = new Map<string, string>();
  for await (const key of store.keys({ prefix: prefixOf.links })) {
    const pair = key.slice(prefixOf.links.length);
    const left = pair.slice(0, BLIND_LENGTH);
    const right = pair.slice(-BLIND_LENGTH);
    for (const patient of [left, right]) if (!parents.has(patient)) parents.set(patient, patient);
    if (parents.size > linkedMax) {
      throw new QflError('too_large', {
        detail: `more than ${linkedMax} patients are linked to others`,
        next: 'Raise the limit of linked patients, or resolve the links in the source system.',
      });
    }
    parents.set(rootOf(parents, left), rootOf(parents, right));
  }
  return {
    personOf: (patient) => (parents.has(patient) ? rootOf(parents, patient) : undefined),
  };
};
