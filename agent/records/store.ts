/**
 * Patient records over an encrypted `Store`. One writer at a time inside the process (LevelDB keeps other processes
 * out); each batch is one atomic, durable write, so a resource and its index entries change together.
 */
import { z } from 'zod';
import { fromUtf8 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import { randomHex, secureRandomBytes, type RandomBytes } from '../../shared/random.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { applyChange, recordKeyOf } from './apply.ts';
import { decodeRecord, keepsValues } from './codec.ts';
import type { ChangeOutcome, RecordChange } from './draft.ts';
import { FhirId, FhirType } from './fhir/mapping.ts';
import { createRecordKeys, keyOf, prefixOf, type RecordKeys } from './keys.ts';
import { createOverlay } from './overlay.ts';
import { createSerial } from '../../shared/serial.ts';

export interface RecordsOptions {
  /** Already encrypted (`encryptedStore`): this module blinds keys and leaves values to it. */
  readonly store: Store;
  /** 32 secret bytes, the same for the life of the store. */
  readonly blindingKey: Uint8Array;
  readonly random?: RandomBytes;
}

export interface Records {
  readonly store: Store;
  readonly keys: RecordKeys;
  newRun(): string;
  /** Grows with everything that is written: what was read at the same number is what would be read now. */
  revision(): number;
  /**
   * All changes in order, in one atomic durable write together with `alongside(outcomes)`.
   * @throws QflError `storage_failed`; then nothing of the batch was applied.
   */
  apply(
    run: string,
    changes: readonly RecordChange[],
    alongside?: (outcomes: readonly ChangeOutcome[]) => readonly StoreOperation[],
  ): Promise<readonly ChangeOutcome[]>;
  /** Runs a task that reads and then writes the store itself, while nothing is applied. */
  exclusively<Result>(task: () => Promise<Result>): Promise<Result>;
  /** The resource as imported, parsed; undefined when it is not here. */
  get(type: string, id: string): Promise<unknown>;
  /** From the moment this returns, no count includes the patient, whether or not they are imported yet. */
  optOut(patientId: string): Promise<void>;
  /** Takes back what `optOut` did; an opt-out that came with the records stays. */
  withdrawOptOut(patientId: string): Promise<void>;
  isOptedOut(patientId: string): Promise<boolean>;
  /** Removes a patient and all of theirs; the number of resources removed. */
  deletePatient(patientId: string): Promise<number>;
  /**
   * Do all rows of this type hold what a row holds now? False for records that an earlier version of this program imported; true where
   * there are none. Public: it says which program wrote, not what.
   */
  keepsValues(type: string): Promise<boolean>;
  /** Stored resources per type, by reading keys only. */
  countResources(): Promise<Readonly<Record<string, number>>>;
}

const PatientId = FhirId;
const EMPTY = new Uint8Array(0);

const checkedId = (id: string): string => {
  const parsed = PatientId.safeParse(id);
  if (parsed.success) return parsed.data;
  throw new QflError('invalid_request', {
    detail: 'a patient id is 1–64 characters of letters, digits, "-" and "."',
    next: 'Give the id of the FHIR Patient resource, without "Patient/".',
  });
};

const loadTypes = async (store: Store): Promise<Set<string>> => {
  const types = new Set<string>();
  for await (const key of store.keys({ prefix: prefixOf.types })) {
    types.add(FhirType.parse(key.slice(prefixOf.types.length)));
  }
  return types;
};

const countKeys = async (store: Store, prefix: string, limit?: number): Promise<number> => {
  let count = 0;
  for await (const _ of store.keys({ prefix, ...(limit === undefined ? {} : { limit }) })) count += 1;
  return count;
};

export const createRecords = ({
  store,
  blindingKey,
  random = secureRandomBytes,
}: RecordsOptions): Records => {
  const keys = createRecordKeys(blindingKey);
  const inTurn = createSerial();
  let revision = 0;
  const oneAtATime = <Result>(task: () => Promise<Result>): Promise<Result> =>
    inTurn(async () => {
      revision += 1;
      try {
        return await task();
      } finally {
        // Once more: what was read in between may be half of it.
        revision += 1;
      }
    });

  const apply: Records['apply'] = (run, changes, alongside) =>
    oneAtATime(async () => {
      // Read from the store, not kept from the batch before: a failed write must not leave a type half known.
      const types = await loadTypes(store);
      const overlay = createOverlay(store);
      await overlay.prefetch(changes.map((change) => recordKeyOf(keys, change)));
      const outcomes: ChangeOutcome[] = [];
      for (const change of changes) outcomes.push(await applyChange({ overlay, keys, run, types }, change));
      const operations = [...overlay.operations(), ...(alongside?.(outcomes) ?? [])];
      if (operations.length > 0) await store.write(operations);
      return outcomes;
    });

  return {
    store,
    keys,
    newRun: () => randomHex(random, 8),
    revision: () => revision,
    apply,
    exclusively: oneAtATime,
    async get(type, id) {
      const value = await store.get(keyOf.record(type, keys.ref(type, id)));
      return value === undefined
        ? undefined
        : z.unknown().parse(JSON.parse(fromUtf8(decodeRecord(value).json)));
    },
    async optOut(patientId) {
      const key = keyOf.localOptOut(keys.patient(checkedId(patientId)));
      await oneAtATime(() => store.write([{ type: 'put', key, value: EMPTY }]));
    },
    async withdrawOptOut(patientId) {
      const key = keyOf.localOptOut(keys.patient(checkedId(patientId)));
      await oneAtATime(() => store.write([{ type: 'del', key }]));
    },
    async isOptedOut(patientId) {
      return (await countKeys(store, prefixOf.optOutsOf(keys.patient(checkedId(patientId))), 1)) > 0;
    },
    async deletePatient(patientId) {
      const id = checkedId(patientId);
      const [outcome] = await apply('', [{ kind: 'delete', type: 'Patient', id }]);
      return outcome?.kind === 'deleted' ? outcome.resources : 0;
    },
    async keepsValues(type) {
      const marker = await store.get(keyOf.type(type));
      return marker === undefined || keepsValues(marker);
    },
    async countResources() {
      const counts: Record<string, number> = {};
      for (const type of await loadTypes(store)) {
        const count = await countKeys(store, prefixOf.records(type));
        if (count > 0) counts[type] = count;
      }
      return counts;
    },
  };
};
