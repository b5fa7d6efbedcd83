/** Sites as the planner sees them at this moment: what they last told, and what went there since. */
import type { SiteId } from '../../shared/ids.ts';
import type { Presence } from '../sites/presence.ts';
import type { CandidateSite } from './candidates.ts';

/** Queries under way at a site that went through here: telemetry is seconds old, this is not. A place is taken with the plan and given back when it ends. */
export interface Taken {
  of(site: SiteId): number;
  enter(site: SiteId): void;
  leave(site: SiteId): void;
}

export const createTaken = (): Taken => {
  const counts = new Map<SiteId, number>();
  const change = (site: SiteId, by: number): void => {
    const next = (counts.get(site) ?? 0) + by;
    if (next === 0) counts.delete(site);
    else counts.set(site, next);
  };
  return {
    of: (site) => counts.get(site) ?? 0,
    enter: (site) => change(site, 1),
    leave: (site) => change(site, -1),
  };
};

export type KnownPresence = Pick<Presence, 'telemetry' | 'telemetryAgeMs' | 'online'>;

/** Sites that offer the model. A site whose telemetry is stale is unknown, not idle: it is not planned with. */
export const sitesOffering = (
  presence: KnownPresence,
  model: string,
  taken: Taken,
): readonly CandidateSite[] =>
  presence.online().flatMap((siteId): CandidateSite[] => {
    const telemetry = presence.telemetry(siteId);
    const offer = telemetry?.draining === true ? undefined : telemetry?.models.find(({ id }) => id === model);
    return offer === undefined
      ? []
      : [
          {
            siteId,
            models: [model],
            slots: offer.slots,
            // The back end's own queue counts, whoever filled it.
            busySlots: Math.max(taken.of(siteId), offer.inFlight + offer.waiting),
            serviceMs: offer.serviceMs ?? offer.firstTokenMs,
          },
        ];
  });
