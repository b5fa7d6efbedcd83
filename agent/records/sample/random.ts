/**
 * Repeatable choices for generated records. Not secure and never used for noise or keys: the point is that the same
 * site name gives the same hospital.
 */
import { createHash } from 'node:crypto';

export interface Choices {
  /** Uniform in [0, 1). */
  unit(): number;
  chance(probability: number): boolean;
  /** Whole number in [low, high]. */
  between(low: number, high: number): number;
  pick<Item>(items: readonly [Item, ...Item[]]): Item;
  /** Roughly bell-shaped around `mean`. */
  around(mean: number, spread: number): number;
  /** A UUID-shaped id. */
  id(): string;
}

const WORD = 2 ** 32;

/** SHA-256 in counter mode over the seed, 32 bits at a time. */
export const createChoices = (seed: string): Choices => {
  let block = Buffer.alloc(0);
  let counter = 0;
  let offset = 0;
  const next = (): number => {
    if (offset + 4 > block.length) {
      block = createHash('sha256').update(`${seed}\n${counter}`).digest();
      counter += 1;
      offset = 0;
    }
    offset += 4;
    return block.readUInt32BE(offset - 4);
  };
  const unit = (): number => next() / WORD;
  const hex = (): string => next().toString(16).padStart(8, '0');
  return {
    unit,
    chance: (probability) => unit() < probability,
    between: (low, high) => low + Math.floor(unit() * (high - low + 1)),
    pick: (items) => items[Math.floor(unit() * items.length)] ?? items[0],
    around: (mean, spread) => mean + (unit() + unit() + unit() - 1.5) * spread,
    id() {
      const text = hex() + hex() + hex() + hex();
      return [
        text.slice(0, 8),
        text.slice(8, 12),
        text.slice(12, 16),
        text.slice(16, 20),
        text.slice(20),
      ].join('-');
    },
  };
};
