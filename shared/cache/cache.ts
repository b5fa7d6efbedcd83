/**
 * Answers that were worked out before: the least recently used goes first, each after a while, never more of them or of their bytes than
 * allowed. For what may be shown to whoever may ask the same again, and is the same each time; never for sealed or personal content.
 */
import type { Clock } from '../clock.ts';
import { assert } from '../errors.ts';

export interface CacheOptions {
  readonly entriesMax: number;
  readonly bytesMax: number;
  readonly lifeMs: number;
  readonly clock: Clock;
}

export interface Cache {
  /** Counts as a lookup. */
  get(key: string): string | undefined;
  /** Keeps a text; one larger than the whole cache is not kept. */
  put(key: string, text: string): void;
  /** Found ÷ looked up, since the start; null before the first lookup. */
  hitRatio(): number | null;
  readonly entries: number;
  readonly bytes: number;
}

interface Entry {
  readonly text: string;
  readonly bytes: number;
  readonly untilMs: number;
}

/** A JavaScript string takes up to two bytes a character. */
const bytesOf = (key: string, text: string): number => 2 * (key.length + text.length);

export const createCache = ({ entriesMax, bytesMax, lifeMs, clock }: CacheOptions): Cache => {
  // A Map keeps the order of insertion: an entry that is used is inserted anew, so the first is the least recently used.
  const entries = new Map<string, Entry>();
  let bytes = 0;
  let [lookups, hits] = [0, 0];

  const remove = (key: string): void => {
    bytes -= entries.get(key)?.bytes ?? 0;
    entries.delete(key);
  };
  const makeRoom = (): void => {
    for (const [key] of entries) {
      if (entries.size <= entriesMax && bytes <= bytesMax) return;
      remove(key);
    }
  };

  return {
    get(key) {
      lookups += 1;
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      entries.delete(key);
      if (entry.untilMs <= clock.monotonicMs()) {
        bytes -= entry.bytes;
        return undefined;
      }
      entries.set(key, entry);
      hits += 1;
      return entry.text;
    },
    put(key, text) {
      remove(key);
      const entry = { text, bytes: bytesOf(key, text), untilMs: clock.monotonicMs() + lifeMs };
      if (entry.bytes > bytesMax) return;
      entries.set(key, entry);
      bytes += entry.bytes;
      makeRoom();
      assert(bytes >= 0 && entries.size <= entriesMax, 'the cache keeps its bounds');
    },
    hitRatio: () => (lookups === 0 ? null : hits / lookups),
    get entries() {
      return entries.size;
    },
    get bytes() {
      return bytes;
    },
  };
};
