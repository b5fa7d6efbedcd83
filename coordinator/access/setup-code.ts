/**
 * The way in for the first administrator: a code printed once by `coordinator init`, good for one account. Only its hash is kept, and it goes in the
 * step that makes the account. `qfl coordinator setup-code` makes another while there is no administrator.
 */
import { hash } from 'node:crypto';
import { z } from 'zod';
import { equalConstantTime, fromHex, toBase64Url, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { DAY_MS } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { RandomBytes } from '../../shared/random.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { createRecordStore } from '../../shared/store/records.ts';

const Stored = z.strictObject({ hash: z.string().regex(/^[0-9a-f]{64}$/), expiresMs: z.int() });
const ID = 'first';
const LIFE_MS = 7 * DAY_MS;
const CODE_BYTES = 18;

export interface SetupCodes {
  /** A new code; the one before it stops working. */
  create(): Promise<string>;
  /** @throws QflError `token_refused`, in the same words whatever is wrong */
  check(code: string): Promise<void>;
  /** For the write that makes the account: a code is never used without one, nor an account made with a code that stays. */
  spending(): StoreOperation;
}

const hashOf = (code: string): string => hash('sha256', utf8(code), 'hex');

export const createSetupCodes = (
  store: Store,
  clock: Pick<Clock, 'nowMs'>,
  random: RandomBytes,
): SetupCodes => {
  const records = createRecordStore(store, 'setup/', Stored);
  return {
    async create() {
      const code = `qflsetup_${toBase64Url(random(CODE_BYTES))}`;
      await records.put(ID, { hash: hashOf(code), expiresMs: Math.trunc(clock.nowMs()) + LIFE_MS });
      return code;
    },
    async check(code) {
      const stored = await records.get(ID);
      const matches = equalConstantTime(fromHex(hashOf(code)), fromHex(stored?.hash ?? '0'.repeat(64)));
      if (stored === undefined || !matches || clock.nowMs() >= stored.expiresMs)
        throw new QflError('token_refused', {
          detail: 'the setup code is not accepted: it is wrong, was used, or is older than seven days',
          next: 'Make a new one on the coordinator: "qfl coordinator setup-code".',
        });
    },
    spending: () => records.deleting(ID),
  };
};
