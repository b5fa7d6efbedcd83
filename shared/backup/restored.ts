/**
 * What a restored home remembers of its restoring. Its logs may be behind what witnesses have cosigned: entries after the backup are lost, and a log that
 * went on from there would be a second history under one name. So a restored audit log begins anew under the next name, and its first entry says
 * which log it follows.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../bytes.ts';
import type { Store, StoreOperation } from '../store/port.ts';

export const RestoredState = z.strictObject({
  /** How often this home was restored; 0 is never, and the name of its audit log has no number then. */
  epoch: z.int().nonnegative(),
  /** When it was restored last, and from a backup of when. */
  restoredMs: z.int().nonnegative(),
  backupMs: z.int().nonnegative(),
  /** The log that the present one follows, as the backup has it. */
  before: z.strictObject({ origin: z.string(), size: z.int(), root: z.base64() }).nullable(),
});
export type RestoredState = z.infer<typeof RestoredState>;

const KEY = 'restored';
const NEVER: RestoredState = { epoch: 0, restoredMs: 0, backupMs: 0, before: null };

export const readRestored = async (store: Pick<Store, 'get'>): Promise<RestoredState> => {
  const value = await store.get(KEY);
  return value === undefined ? NEVER : RestoredState.parse(JSON.parse(fromUtf8(value)));
};
export const puttingRestored = (state: RestoredState): StoreOperation => ({
  type: 'put',
  key: KEY,
  value: utf8(JSON.stringify(RestoredState.parse(state))),
});

/** Where the log of after so many restores lies in the store, and its anchor beside it. */
export const restoredPrefix = (prefix: string, epoch: number): string =>
  epoch === 0 ? prefix : prefix.replace(/\/$/, `.${epoch}/`);
export const restoredAnchor = (name: string, epoch: number): string =>
  epoch === 0 ? name : `${name}.${epoch}`;
