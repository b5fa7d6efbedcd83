/**
 * Superposition: a request is open, held as a distribution over sites, while waiting can still change where it goes. It is open
 * while now < t_commit and n_eff = 1/Σp² > 1.05, with
 *   t_commit = min(deadline − q95(service) − dispatch margin, the moment an eligible slot would idle).
 * The distribution is of a classical ensemble of plans (`ensemble.ts`).
 */
import type { Seeded } from '../../shared/seeded.ts';
import { effectiveSites } from './ensemble.ts';

export const SUPERPOSITIONS_MAX = 100;
/** Below it the ensemble agrees on one site. */
export const OPEN_EFFECTIVE_SITES_MIN = 1.05;
/** From commit to the site's ears. */
export const DISPATCH_MARGIN_MS = 50;

export interface CommitTimes {
  readonly deadlineMs: number;
  /** 95th percentile of the service time at the slowest site still considered. */
  readonly serviceQ95Ms: number;
  /** When a slot that may serve it would stand idle: now, when one is free. */
  readonly slotIdleMs: number;
  readonly marginMs?: number;
}

/** t_commit, on the clock of its inputs. */
export const commitMsOf = ({
  deadlineMs,
  serviceQ95Ms,
  slotIdleMs,
  marginMs = DISPATCH_MARGIN_MS,
}: CommitTimes): number => Math.min(deadlineMs - serviceQ95Ms - marginMs, slotIdleMs);

export const isOpen = (nowMs: number, commitMs: number, p: ArrayLike<number>): boolean =>
  nowMs < commitMs && effectiveSites(p) > OPEN_EFFECTIVE_SITES_MIN;

/** The most probable site; among equals the seeded generator draws, so that ties spread and a run repeats. */
export const commitSite = (p: ArrayLike<number>, random: Seeded): number => {
  let [best, ties] = [0, 1];
  for (let site = 1; site < p.length; site += 1) {
    if (p[site]! < p[best]!) continue;
    ties = p[site]! > p[best]! ? 1 : ties + 1;
    if (random.below(ties) === 0) best = site;
  }
  return best;
};
