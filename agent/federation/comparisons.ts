/**
 * Which hospitals' fingerprints somebody here has compared by telephone. It holds for one identity: when a hospital takes a new one, the two have to talk
 * again.
 */
import { z } from 'zod';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { Clock } from '../../shared/clock.ts';
import type { SiteKeys } from '../../shared/directory/chain.ts';
import { phraseOf } from '../../shared/directory/show.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Store } from '../../shared/store/port.ts';
import { createRecordStore } from '../../shared/store/records.ts';
import { type Comparison, type Comparisons as Shown, normalPhrase } from '../../shared/wire/keys.ts';

const Kept = z.strictObject({ phrase: z.string(), atMs: z.int(), role: z.string() });
type Kept = z.infer<typeof Kept>;

export interface Comparisons {
  of(keys: SiteKeys): { readonly comparison: Comparison; readonly comparedMs: number | null };
  /** Kept when the phrase is that of the keys here. @throws QflError `key_changed` when it is not */
  compare(keys: SiteKeys, phrase: string, role: string): Promise<void>;
}

/** What answers and plans show beside a site's name. */
export type Compared = (site: SiteId) => Comparison;

/** The result, with what is known of the sites in it. */
export const withComparisons = <
  Result extends { readonly sites: readonly (SiteId | { readonly site: SiteId })[] },
>(
  result: Result,
  compared: Compared,
): Result & { comparisons: Shown } => ({
  ...result,
  comparisons: Object.fromEntries(
    result.sites
      .map((one) => (typeof one === 'string' ? one : one.site))
      .map((site): [string, Comparison] => [site, compared(site)]),
  ),
});

export interface ComparisonsOptions {
  readonly store: Store;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly self: SiteId;
}

export const openComparisons = async (options: ComparisonsOptions): Promise<Comparisons> => {
  const { store, audit, clock, self } = options;
  const records = createRecordStore(store, 'compared/', Kept);
  const known = new Map<string, Kept>();
  for await (const { key } of store.list({ prefix: 'compared/' })) {
    const site = key.slice('compared/'.length);
    const kept = await records.get(site);
    if (kept !== undefined) known.set(site, kept);
  }
  return {
    of(keys) {
      if (keys.site === self) return { comparison: null, comparedMs: null };
      const kept = known.get(keys.site);
      return kept?.phrase === phraseOf(keys.identity)
        ? { comparison: 'compared', comparedMs: kept.atMs }
        : { comparison: 'not_compared', comparedMs: null };
    },
    async compare(keys, given, role) {
      const { site } = keys;
      const phrase = phraseOf(keys.identity);
      const fits = normalPhrase(given) === phrase;
      await audit.record({
        action: 'key.compared',
        outcome: fits ? 'ok' : 'refused',
        role,
        objects: [
          { kind: 'site', id: site },
          { kind: 'fingerprint', id: phrase },
        ],
      });
      if (!fits)
        throw new QflError('key_changed', {
          detail: `the directory shows ${phrase} for ${site}, not what was read to you`,
          next: `Read it to each other once more. If it stays different, do not send anything to ${site}: call the operator and the other hospitals.`,
        });
      const kept = { phrase, atMs: Math.trunc(clock.nowMs()), role };
      await records.put(site, kept);
      known.set(site, kept);
    },
  };
};
