/**
 * Where a conversation or prefix was last served, by its blind token: that site has it warm. And where copies of one question went: another copy should
 * go elsewhere, whether or not it comes in the same moment. Bounded, and forgotten after a while.
 */
import type { SiteId } from '../../shared/ids.ts';
import { MINUTE_MS } from '../../shared/clock.ts';

export const WARM_TOKENS_MAX = 10_000;
export const WARM_MS = 10 * MINUTE_MS;

export interface Warmth {
  served(token: string | undefined, site: SiteId, nowMs: number): void;
  siteOf(token: string | undefined, nowMs: number): SiteId | undefined;
  copyServed(token: string | undefined, site: SiteId, nowMs: number): void;
  copySites(token: string | undefined, nowMs: number): readonly SiteId[];
}

/** Newest last; the oldest goes when there are too many. */
const remember = <T>(map: Map<string, T>, token: string, value: T): void => {
  map.delete(token);
  const [oldest] = map.keys();
  if (map.size >= WARM_TOKENS_MAX && oldest !== undefined) map.delete(oldest);
  map.set(token, value);
};

export const createWarmth = (): Warmth => {
  const tokens = new Map<string, { readonly site: SiteId; readonly atMs: number }>();
  const copies = new Map<string, { readonly sites: readonly SiteId[]; readonly atMs: number }>();
  const copySites: Warmth['copySites'] = (token, nowMs) => {
    const known = token === undefined ? undefined : copies.get(token);
    return known !== undefined && nowMs - known.atMs <= WARM_MS ? known.sites : [];
  };
  return {
    served(token, site, atMs) {
      if (token !== undefined) remember(tokens, token, { site, atMs });
    },
    copySites,
    copyServed(token, site, atMs) {
      if (token === undefined) return;
      const sites = [...new Set([...copySites(token, atMs), site])];
      remember(copies, token, { sites, atMs });
    },
    siteOf(token, nowMs) {
      const known = token === undefined ? undefined : tokens.get(token);
      return known !== undefined && nowMs - known.atMs <= WARM_MS ? known.site : undefined;
    },
  };
};
