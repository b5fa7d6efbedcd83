/** What a site keeps of sealed rounds, encrypted like all of its store: epochs, rounds, and the chunks of vectors that are not received yet. */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { DAY_MS } from '../../shared/clock.ts';
import { type EpochId, RoundId } from '../../shared/ids.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { SiteEpoch } from './site-epoch.ts';
import { SiteRound } from './site-round.ts';

const EPOCHS = 'round-epochs/';
const ROUNDS = 'rounds/';
const CHUNKS = 'round-chunks/';
/** Sets of sites that this site shares keys with at a time. */
const EPOCHS_MAX = 8;
/** The coordinator uses an epoch for a day; a round that began with it ends within another. */
const EPOCH_KEPT_MS = 2 * DAY_MS;
const RESTORES = 'round-restores';

/** A round that is over: enough to refuse its plan and its messages for ever. */
const Ended = z.strictObject({ ended: z.literal(true), planHash: z.string() });
const Stored = z.union([SiteRound, Ended]);
export type StoredRound = z.infer<typeof Stored>;
export const isEnded = (round: StoredRound): round is z.infer<typeof Ended> => 'ended' in round;

const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
const chunkKey = (round: RoundId, index: number): string =>
  `${CHUNKS}${round}/${String(index).padStart(8, '0')}`;

export interface RoundShelf {
  epoch(id: EpochId): Promise<SiteEpoch | undefined>;
  /** Keeps an epoch that began anew; those it replaces go once it is complete. */
  putEpoch(epoch: SiteEpoch): Promise<void>;
  /**
   * Epochs that this one takes the place of, with the space their keys were in: those of the same sites, those that are older than any is used, and the
   * oldest beyond a few. Others stay: two trainings may go on side by side with different sites.
   */
  forgetOldEpochs(id: EpochId): Promise<void>;
  round(id: RoundId): Promise<StoredRound | undefined>;
  putRound(id: RoundId, round: SiteRound): Promise<void>;
  /** A round and the epoch that its keys were taken from, in one: a number is never used twice. */
  beginRound(id: RoundId, round: SiteRound, epoch: SiteEpoch): Promise<void>;
  /** Forgets its secrets and its vector. */
  endRound(id: RoundId, planHash: string): Promise<void>;
  open(): Promise<{ readonly id: RoundId; readonly round: SiteRound }[]>;
  /** For how many restores of the home it was made; 0 at first. */
  restores(): Promise<number>;
  /** Forgets all epochs: their keys may have been used by what is not here any more. */
  restored(times: number): Promise<void>;
  putChunk(id: RoundId, index: number, bytes: Uint8Array): Promise<void>;
  chunk(id: RoundId, index: number): Promise<Uint8Array | undefined>;
}

export const createRoundShelf = (store: Store): RoundShelf => {
  const put = (key: string, value: unknown): StoreOperation => ({ type: 'put', key, value: json(value) });
  const read = async <Schema extends z.ZodType>(
    key: string,
    schema: Schema,
  ): Promise<z.output<Schema> | undefined> => {
    const value = await store.get(key);
    return value === undefined ? undefined : schema.parse(JSON.parse(fromUtf8(value)));
  };
  const keysBelow = async (prefix: string): Promise<string[]> => {
    const keys: string[] = [];
    for await (const key of store.keys({ prefix })) keys.push(key);
    return keys;
  };
  const remove = async (keys: readonly string[], also: readonly StoreOperation[] = []): Promise<void> => {
    if (keys.length + also.length > 0)
      await store.write([...keys.map((key): StoreOperation => ({ type: 'del', key })), ...also]);
  };
  return {
    epoch: (id) => read(EPOCHS + id, SiteEpoch),
    putEpoch: (epoch) => store.write([put(EPOCHS + epoch.epoch, epoch)]),
    async forgetOldEpochs(id) {
      const epochs: SiteEpoch[] = [];
      for await (const { value } of store.list({ prefix: EPOCHS }))
        epochs.push(SiteEpoch.parse(JSON.parse(fromUtf8(value))));
      const newest = epochs.find(({ epoch }) => epoch === id);
      const isKept = (one: SiteEpoch): boolean =>
        newest !== undefined &&
        one.sites.join() !== newest.sites.join() &&
        newest.madeMs - one.madeMs < EPOCH_KEPT_MS;
      const kept = epochs
        .filter((one) => one.epoch !== id && isKept(one))
        .toSorted((left, right) => right.madeMs - left.madeMs)
        .slice(0, EPOCHS_MAX - 1);
      const stays = new Set([id, ...kept.map(({ epoch }) => epoch)]);
      await remove(epochs.filter(({ epoch }) => !stays.has(epoch)).map(({ epoch }) => EPOCHS + epoch));
      // Keys that were replaced are gone from the files too: what a thief finds later opens no round before.
      await store.compact(EPOCHS);
    },
    round: (id) => read(ROUNDS + id, Stored),
    putRound: (id, round) => store.write([put(ROUNDS + id, round)]),
    beginRound: (id, round, epoch) =>
      store.write([put(ROUNDS + id, round), put(EPOCHS + epoch.epoch, epoch)]),
    async endRound(id, planHash) {
      await remove(await keysBelow(`${CHUNKS}${id}/`), [put(ROUNDS + id, { ended: true, planHash })]);
      for (const prefix of [ROUNDS, CHUNKS, EPOCHS]) await store.compact(prefix);
    },
    async open() {
      const found: { id: RoundId; round: SiteRound }[] = [];
      for await (const { key, value } of store.list({ prefix: ROUNDS })) {
        const round = Stored.parse(JSON.parse(fromUtf8(value)));
        if (!isEnded(round)) found.push({ id: RoundId.parse(key.slice(ROUNDS.length)), round });
      }
      return found;
    },
    restores: async () => (await read(RESTORES, z.int().nonnegative())) ?? 0,
    restored: async (times) => remove(await keysBelow(EPOCHS), [put(RESTORES, times)]),
    // Not fsynced one by one: the state that counts them is written after them, durably.
    putChunk: (id, index, bytes) =>
      store.write([{ type: 'put', key: chunkKey(id, index), value: bytes }], { durable: false }),
    chunk: (id, index) => store.get(chunkKey(id, index)),
  };
};
