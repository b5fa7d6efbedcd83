/** What is left of rounds that ended: one summary each, the newest of them. What was charged and decided is in the audit log for good. */
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import type { RoundId } from '../../shared/ids.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { RoundShown } from '../../shared/wire/round.ts';

const SUMMARY = 'round-summary/';
/** When it ended, then its id: in the order of time. */
const ENDED = 'round-ended/';
const TIME_DIGITS = 15;
const KEPT_MAX = 10_000;
/** Rounds after which the oldest are looked for again. */
const TRIM_EVERY = 256;

export interface Summaries {
  /** To be written together with what takes the round's events away. */
  keeping(summary: RoundShown): StoreOperation[];
  get(id: RoundId): Promise<RoundShown | undefined>;
  /** Newest first. */
  newest(limit: number): Promise<RoundShown[]>;
  /** Forgets the oldest beyond what is kept; looks only now and then. */
  trim(): Promise<void>;
}

const endedKey = ({ id, endedMs }: RoundShown): string =>
  `${ENDED}${String(endedMs ?? 0).padStart(TIME_DIGITS, '0')}/${id}`;

export const createSummaries = (store: Store, keptMax = KEPT_MAX): Summaries => {
  let untilTrim = 0;
  const get = async (id: string): Promise<RoundShown | undefined> => {
    const value = await store.get(SUMMARY + id);
    // What an earlier program wrote in other words is as good as forgotten.
    return value === undefined ? undefined : RoundShown.safeParse(JSON.parse(fromUtf8(value))).data;
  };
  const idOf = (key: string): string => key.slice(ENDED.length + TIME_DIGITS + 1);
  return {
    keeping: (summary) => [
      { type: 'put', key: SUMMARY + summary.id, value: utf8(JSON.stringify(summary)) },
      { type: 'put', key: endedKey(summary), value: new Uint8Array(0) },
    ],
    get,
    async newest(limit) {
      const found: RoundShown[] = [];
      for await (const key of store.keys({ prefix: ENDED, reverse: true, limit })) {
        const summary = await get(idOf(key));
        if (summary !== undefined) found.push(summary);
      }
      return found;
    },
    async trim() {
      untilTrim -= 1;
      if (untilTrim > 0) return;
      untilTrim = TRIM_EVERY;
      let seen = 0;
      const gone: StoreOperation[] = [];
      for await (const key of store.keys({ prefix: ENDED, reverse: true })) {
        seen += 1;
        if (seen > keptMax) gone.push({ type: 'del', key }, { type: 'del', key: SUMMARY + idOf(key) });
      }
      if (gone.length > 0) await store.write(gone);
    },
  };
};
