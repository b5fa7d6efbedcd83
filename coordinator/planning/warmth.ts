/** Where a conversation or prefix was last served, by its blind token: that site has it warm. Bounded, and forgotten after a while. */
import type { SiteId } from '../../shared/ids.ts';
import { MINUTE_MS } from '../../shared/clock.ts';

export const WARM_TOKENS_MAX = 10_000;
export const WARM_MS = 10 * MINUTE_MS;

export interface Warmth {
  served(token: string | undefined, site: SiteId, nowMs: number): void;
  siteOf(token: string | undefined, nowMs: number): SiteId | undefined;
}

export const createWarmth = (): Warmth => {
  const tokens = new Map<string, { readonly site: SiteId; readonly atMs: number }>();
  return {
    served(token, site, atMs) {
      if (token === undefined) return;
      tokens.delete(token);
      const [oldest] = tokens.keys();
      if (tokens.size >= WARM_TOKENS_MAX && oldest !== undefined) tokens.delete(oldest);
      tokens.set(token, { site, atMs });
    },
    siteOf(token, nowMs) {
      const known = token === undefined ? undefined : tokens.get(token);
      return known !== undefined && nowMs - known.atMs <= WARM_MS ? known.site : undefined;
    },
  };
};
