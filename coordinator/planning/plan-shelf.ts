/**
 * The newest plans on the disk, so that "why this site" is answered after a restart too. Written together a moment later and not waited for: a plan that a
 * crash takes with it is an explanation less, nothing else. What another version wrote and this one cannot read is dropped.
 */
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { PlanRecord } from '../../shared/wire/plan.ts';
import { createPlanRecords, type PlanRecords } from './records.ts';

/** Of the plans in memory (`records.ts`). */
export const PLANS_ON_DISK = 2_000;
const PREFIX = 'plan/';
const WRITE_AFTER_MS = 1_000;
/** Of one write: it is encoded and encrypted on the event loop. */
const WRITE_PLANS_MAX = 50;
const NAME_DIGITS = 14;

const nameOf = (number: number): string => `${PREFIX}${String(number).padStart(NAME_DIGITS, '0')}`;

const parse = (bytes: Uint8Array): PlanRecord | undefined => {
  try {
    return PlanRecord.safeParse(JSON.parse(fromUtf8(bytes))).data;
  } catch {
    return undefined;
  }
};

export interface PlanShelf {
  readonly records: PlanRecords;
  /** Writes what is left. */
  close(): Promise<void>;
}

/** @throws QflError `storage_failed` when what is there cannot be read */
export const openPlanShelf = async (
  store: Store,
  failed: (error: unknown) => void,
  onDiskMax = PLANS_ON_DISK,
): Promise<PlanShelf> => {
  const records = createPlanRecords();
  const names: string[] = [];
  const unreadable: string[] = [];
  let number = 0;
  for await (const { key, value } of store.list({ prefix: PREFIX })) {
    number = Number(key.slice(PREFIX.length));
    const record = parse(value);
    if (record === undefined) unreadable.push(key);
    else {
      names.push(key);
      records.add(record);
    }
  }
  const waiting: PlanRecord[] = [];
  let timer: NodeJS.Timeout | undefined;

  const operationsFor = (plans: readonly PlanRecord[]): readonly StoreOperation[] => {
    const puts = plans.map((record): StoreOperation => {
      const key = nameOf((number += 1));
      names.push(key);
      return { type: 'put', key, value: utf8(JSON.stringify(record)) };
    });
    const old = [...unreadable.splice(0), ...names.splice(0, Math.max(0, names.length - onDiskMax))];
    return [...puts, ...old.map((key): StoreOperation => ({ type: 'del', key }))];
  };
  let writing: Promise<void> = Promise.resolve();
  const flush = async (): Promise<void> => {
    timer = undefined;
    // What is older than all that stay is not written first to be deleted.
    waiting.splice(0, Math.max(0, waiting.length - onDiskMax));
    while (waiting.length > 0)
      await store.write(operationsFor(waiting.splice(0, WRITE_PLANS_MAX)), { durable: false });
  };
  return {
    records: {
      ...records,
      add(record) {
        records.add(record);
        waiting.push(record);
        timer ??= setTimeout(() => {
          writing = writing.then(flush).catch(failed);
        }, WRITE_AFTER_MS).unref();
      },
      get size() {
        return records.size;
      },
    },
    async close() {
      clearTimeout(timer);
      await writing;
      await flush().catch(failed);
    },
  };
};
