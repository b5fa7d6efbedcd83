/** From which entry on a log still has its entries: those below were pruned. Key `m` under the log's prefix. */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../bytes.ts';
import type { Store, StoreOperation } from '../store/port.ts';
import { damaged } from './tiles.ts';

const Minimum = z.strictObject({ v: z.literal(1), minimumIndex: z.int().nonnegative() });

export const minimumWrite = (prefix: string, minimumIndex: number): StoreOperation => ({
  type: 'put',
  key: `${prefix}m`,
  value: utf8(JSON.stringify({ v: 1, minimumIndex } satisfies z.infer<typeof Minimum>)),
});

/** @throws QflError `storage_failed` */
export const readMinimum = async (store: Pick<Store, 'get'>, prefix: string): Promise<number> => {
  const bytes = await store.get(`${prefix}m`);
  if (bytes === undefined) return 0;
  try {
    return Minimum.parse(JSON.parse(fromUtf8(bytes))).minimumIndex;
  } catch (cause) {
    throw damaged('its minimum index does not read', cause);
  }
};
