/** Which sites could answer, as far as this site knows: online, offering the model, in the directory, allowed by policy. */
import type { SiteId } from '../../shared/ids.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { type DirectoryState, inForceAt } from '../../shared/directory/chain.ts';
import type { Board } from '../../shared/wire/session.ts';

const inForce = (state: DirectoryState, site: SiteId, nowMs: number): boolean => {
  const known = state.get(site);
  const keys = known === undefined ? undefined : inForceAt(known, nowMs);
  return keys !== undefined && keys.revokedMs === undefined && keys.suspended === undefined;
};

/** Others that offer `model`. */
export const offering = (
  board: Board | undefined,
  state: DirectoryState,
  self: SiteId,
  model: string,
  nowMs: number,
): SiteId[] =>
  (board?.sites ?? [])
    .filter(
      ({ site, online, models }) =>
        online && site !== self && models.includes(model) && inForce(state, site, nowMs),
    )
    .map(({ site }) => site);

/** Others that hold records. */
export const withRecords = (
  board: Board | undefined,
  state: DirectoryState,
  self: SiteId,
  nowMs: number,
): SiteId[] =>
  (board?.sites ?? [])
    .filter(({ site, records }) => records && site !== self && inForce(state, site, nowMs))
    .map(({ site }) => site);

/** `count` of `sites`, each set equally likely, so that no site is always among the few. */
export const drawSome = (sites: readonly SiteId[], count: number, random: RandomBytes): SiteId[] => {
  const keyed = sites.map((site) => ({ site, key: Buffer.from(random(8)).toString('hex') }));
  return keyed
    .toSorted((left, right) => (left.key < right.key ? -1 : 1))
    .slice(0, count)
    .map(({ site }) => site);
};
