/** What a site takes part in: of plans, and of sites to share keys with. */
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { RoundPlan } from '../../shared/rounds/plan.ts';
import { minCohortOf } from '../../shared/rounds/tolerance.ts';
import { type RoundWorkers, workerFor } from './work.ts';

export interface RoundPolicy {
  /** No sum of fewer sites is taken part in; the default of the plan's size where null. */
  readonly minCohort: number | null;
  /** Only with sites whose fingerprint was compared by voice here. */
  readonly onlyCompared: boolean;
  /** Rounds in which the coordinator sees this site's vector. */
  readonly allowsUnmasked: boolean;
  /** Rounds whose unit is the site, not the patient. */
  readonly allowsSiteUnit: boolean;
}

export interface PolicyFacts {
  readonly self: SiteId;
  readonly federation: string;
  readonly workers: RoundWorkers;
  readonly policy: () => RoundPolicy;
  /** Was the site's fingerprint, as it is now, compared by voice? */
  readonly isCompared: (site: SiteId) => boolean;
}

/** @throws QflError what this site does not take part in, and why */
export const checkPlan = (plan: RoundPlan, { self, federation, workers, policy }: PolicyFacts): void => {
  const { minCohort, allowsSiteUnit, allowsUnmasked } = policy();
  if (plan.federation !== federation)
    throw new QflError('protocol', { detail: 'a plan of another federation' });
  if (!plan.sites.includes(self))
    throw new QflError('protocol', { detail: 'a plan that does not name this site' });
  const least = minCohort ?? minCohortOf(plan.sites.length);
  if (plan.minCohort < least)
    throw new QflError('forbidden', {
      detail: `the plan opens sums of ${plan.minCohort} sites, and this site takes part in sums of ${least} and more`,
      next: `Plan the round with --min-cohort ${least}, or the site allows fewer (rounds.min_cohort).`,
    });
  if (!plan.masked && !allowsUnmasked)
    throw new QflError('forbidden', {
      detail:
        'the plan shows the coordinator the vector of each site, and this site does not take part in such rounds',
      next: 'Plan a masked round, or the site allows it (rounds.unmasked).',
    });
  if (plan.privacy.unit === 'site' && !allowsSiteUnit)
    throw new QflError('forbidden', {
      detail: 'the plan protects whole sites, not patients, and this site does not take part in such rounds',
      next: 'Use work whose unit is the patient, or the site allows it (rounds.site_unit).',
    });
  const price = workerFor(workers, plan).priceOf(plan);
  if (JSON.stringify(price) !== JSON.stringify(plan.privacy))
    throw new QflError('protocol', {
      detail: 'the plan states another price than this work has here',
      next: 'Bring coordinator and agent to the same version.',
    });
};

/** @throws QflError `forbidden` */
export const checkCompared = (sites: readonly SiteId[], { self, policy, isCompared }: PolicyFacts): void => {
  if (!policy().onlyCompared) return;
  const strangers = sites.filter((site) => site !== self && !isCompared(site));
  if (strangers.length === 0) return;
  throw new QflError('forbidden', {
    detail: `this site takes part with sites only whose fingerprint it has compared by voice; not with ${strangers.join(', ')}`,
    next: 'At this site, after a call: qfl keys compare SITE PHRASE',
    facts: { sites: strangers },
  });
};
