/** Sites as the planner sees them at this moment: what they last told, and what went there since. */
import { HOUR_MS } from '../../shared/clock.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Presence } from '../sites/presence.ts';
import type { CandidateSite } from './candidates.ts';

/**
 * Queries under way at a site that went through here, and their tokens: telemetry is seconds old, this is not. A place is taken with the plan and given
 * back when it ends.
 */
export interface Taken {
  of(site: SiteId): { readonly slots: number; readonly tokens: number };
  enter(site: SiteId, tokens: number): void;
  leave(site: SiteId, tokens: number): void;
}

/** What a site tells of itself is its own word: a figure beyond these counts as these, so that no site makes a problem that cannot be planned. */
const SERVICE_MAX_MS = HOUR_MS;
/** A thousand tokens for a thousand units. */
const TOKEN_PRICE_MAX_MICROS = 1_000_000_000;
const atMost = (most: number, told: number | null | undefined): number | undefined =>
  told === null || told === undefined ? undefined : Math.min(most, told);

const NOTHING = { slots: 0, tokens: 0 };

export const createTaken = (): Taken => {
  const counts = new Map<SiteId, { readonly slots: number; readonly tokens: number }>();
  const change = (site: SiteId, slots: number, tokens: number): void => {
    const before = counts.get(site) ?? NOTHING;
    if (before.slots + slots === 0) counts.delete(site);
    else counts.set(site, { slots: before.slots + slots, tokens: before.tokens + tokens });
  };
  return {
    of: (site) => counts.get(site) ?? NOTHING,
    enter: (site, tokens) => change(site, 1, tokens),
    leave: (site, tokens) => change(site, -1, -tokens),
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
    if (offer === undefined) return [];
    const { tokensMax, tokensInUse = 0, tokenPriceMicros } = offer;
    const here = taken.of(siteId);
    return [
      {
        siteId,
        models: [model],
        slots: offer.slots,
        emergencySlots: offer.emergencySlots ?? 0,
        // The back end's own queue counts, whoever filled it.
        busySlots: Math.max(here.slots, offer.inFlight + offer.waiting),
        serviceMs: atMost(SERVICE_MAX_MS, offer.serviceMs ?? offer.firstTokenMs) ?? null,
        tokensMax: tokensMax ?? undefined,
        tokensBusy: Math.max(here.tokens, tokensInUse),
        tokenPriceMicros: atMost(TOKEN_PRICE_MAX_MICROS, tokenPriceMicros),
        microEpsilonLeft: telemetry?.microEpsilonLeft ?? undefined,
      },
    ];
  });
