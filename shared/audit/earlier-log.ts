/**
 * A log of before a restore, as it lies in the store. Nothing is added to it and nobody signs it any more, but what it holds is held, erased and
 * pruned as in the present one.
 */
import type { Store } from '../store/port.ts';
import { decodeEntry } from './entry.ts';
import { minimumWrite, readMinimum } from './log-minimum.ts';
import type { PersonalDetails } from './personal.ts';
import { deleteBefore } from './sweep.ts';
import { indexKey, TILE_WIDTH } from './tiles.ts';

/** What retention needs of a log, the present one too. */
export interface KeptLog {
  readonly origin: string;
  /** Of its keys in the store, ending in `/`. */
  readonly prefix: string;
  readonly personal: Pick<PersonalDetails, 'entriesOf' | 'eraseBelow'>;
  minimumIndex(): Promise<number>;
  /** When each entry from the minimum index on was written. */
  timesMs(): AsyncIterable<number>;
  /** Destroys what detail without a person there is below `index`. */
  forgetDetailBelow(index: number): Promise<void>;
  /** Forgets entries below `index`, in whole bundles. */
  prune(index: number): Promise<void>;
}

export const earlierLog = (
  store: Store,
  origin: string,
  prefix: string,
  personal: PersonalDetails,
): KeptLog => {
  const minimumIndex = (): Promise<number> => readMinimum(store, prefix);
  return {
    origin,
    prefix,
    personal,
    minimumIndex,
    async *timesMs() {
      const minimum = await minimumIndex();
      const after = minimum > 0 ? { after: `${prefix}e/${indexKey(minimum - 1)}` } : {};
      for await (const { value } of store.list({ prefix: `${prefix}e/`, ...after }))
        yield decodeEntry(value).timeMs;
    },
    forgetDetailBelow: (index) => deleteBefore(store, `${prefix}d/`, `${prefix}d/${indexKey(index)}`),
    async prune(index) {
      const minimum = Math.floor(index / TILE_WIDTH) * TILE_WIDTH;
      if (minimum > (await minimumIndex())) await store.write([minimumWrite(prefix, minimum)]);
      await deleteBefore(store, `${prefix}e/`, `${prefix}e/${indexKey(await minimumIndex())}`);
    },
  };
};
