/**
 * Rows that an earlier version of this program wrote hold less than rows do now. The resources themselves are all kept, so the rows are made
 * again from them; every import does so at its end, whatever it imported.
 */
import { z } from 'zod';
import { fromUtf8 } from '../../shared/bytes.ts';
import { decodeRecord, keepsValues, VALUES_KEPT } from './codec.ts';
import type { RecordChange } from './draft.ts';
import { mapResource } from './fhir/mapping.ts';
import { COHORT_TYPES } from './fhir/types.ts';
import { keyOf, prefixOf } from './keys.ts';
import type { Records } from './store.ts';

const BATCH = 500;
/** The types whose rows hold more than they did: all that have codes. */
const TYPES = COHORT_TYPES.filter((type) => type !== 'Patient');

const changeOf = (json: Uint8Array): RecordChange | undefined => {
  const mapped = mapResource(z.unknown().parse(JSON.parse(fromUtf8(json))));
  return mapped.kind === 'draft' ? { kind: 'put', draft: mapped.draft, json } : undefined;
};

const upgradeType = async (records: Records, type: string): Promise<void> => {
  const run = records.newRun();
  let batch: RecordChange[] = [];
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await records.apply(run, batch);
    batch = [];
  };
  for await (const { value } of records.store.list({ prefix: prefixOf.records(type) })) {
    const change = changeOf(decodeRecord(value).json);
    if (change !== undefined) batch.push(change);
    if (batch.length >= BATCH) await flush();
  }
  await flush();
  await records.store.write([{ type: 'put', key: keyOf.type(type), value: VALUES_KEPT }]);
};

/** Idempotent; an upgrade that was cut off is done again from its beginning. */
export const upgradeRows = async (records: Records): Promise<void> => {
  for (const type of TYPES) {
    const marker = await records.store.get(keyOf.type(type));
    if (marker !== undefined && !keepsValues(marker)) await upgradeType(records, type);
  }
};
