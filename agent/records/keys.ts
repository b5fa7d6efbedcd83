/**
 * Store keys of the records. Every personal identifier and every code is blinded (keyed BLAKE2b, 16 bytes); what
 * stays readable is the key's kind and the FHIR type name. Someone who copies the disk sees how many rows share a
 * blinded term, not whose or which.
 *
 * `r/Type/ref`            the resource and its header
 * `a/Type/patient/ref`    rows of a type in patient order; value: attributes
 * `i/term/patient/ref`    rows with a code in patient order; value: attributes and code systems
 * `o/patient/source`      an opt-out and where it comes from
 * `l/patient/other`       two patients that are one person
 * `n/identifier/patient`  a business identifier of a patient
 * `t/Type`                a type that has been seen
 * `k/folder/…`            import checkpoints
 * `b/patient/month`       the data block of a patient, blinded; value: the month. Stays when the patient is deleted
 * `s/blocks`              counts of the last assignment of blocks
 */
import { blind } from '../../shared/store/encrypted.ts';
import { assert } from '../../shared/errors.ts';

const ROOT = 'records/';
const TERMS_CACHED_MAX = 20_000;
export const BLIND_LENGTH = 32;

/** Source of opt-outs that the hospital itself set, beside those that arrive as resources. */
const LOCAL_SOURCE = 'local';

export interface RecordKeys {
  ref(type: string, id: string): string;
  patient(id: string): string;
  term(type: string, code: string): string;
  identifier(system: string, value: string): string;
  folder(path: string): string;
  month(month: string): string;
}

/** @param blindingKey 32 bytes; losing it makes the store unreadable, leaking it makes its keys guessable. */
export const createRecordKeys = (blindingKey: Uint8Array): RecordKeys => {
  assert(blindingKey.byteLength === 32, 'the blinding key has 32 bytes');
  const terms = new Map<string, string>();
  const ref = (type: string, id: string): string => blind(blindingKey, 'ref', type, id);
  return {
    ref,
    patient: (id) => ref('Patient', id),
    term(type, code) {
      const name = `${type} ${code}`;
      const known = terms.get(name);
      if (known !== undefined) return known;
      const made = blind(blindingKey, 'term', type, code);
      if (terms.size < TERMS_CACHED_MAX) terms.set(name, made);
      return made;
    },
    identifier: (system, value) => blind(blindingKey, 'identifier', system, value),
    folder: (path) => blind(blindingKey, 'folder', path),
    month: (month) => blind(blindingKey, 'month', month),
  };
};

export const keyOf = {
  record: (type: string, ref: string): string => `${ROOT}r/${type}/${ref}`,
  row: (type: string, patient: string, ref: string): string => `${ROOT}a/${type}/${patient}/${ref}`,
  coded: (term: string, patient: string, ref: string): string => `${ROOT}i/${term}/${patient}/${ref}`,
  optOut: (patient: string, source: string): string => `${ROOT}o/${patient}/${source}`,
  localOptOut: (patient: string): string => `${ROOT}o/${patient}/${LOCAL_SOURCE}`,
  link: (patient: string, other: string): string => `${ROOT}l/${patient}/${other}`,
  identifier: (identifier: string, patient: string): string => `${ROOT}n/${identifier}/${patient}`,
  type: (type: string): string => `${ROOT}t/${type}`,
  block: (patient: string, month: string): string => `${ROOT}b/${patient}/${month}`,
  blockCounts: `${ROOT}s/blocks`,
  importState: (folder: string): string => `${ROOT}k/${folder}/state`,
  importFile: (folder: string, file: string): string => `${ROOT}k/${folder}/f/${file}`,
} as const;

export const prefixOf = {
  records: (type: string): string => `${ROOT}r/${type}/`,
  rows: (type: string): string => `${ROOT}a/${type}/`,
  rowsOfPatient: (type: string, patient: string): string => `${ROOT}a/${type}/${patient}/`,
  coded: (term: string): string => `${ROOT}i/${term}/`,
  optOuts: `${ROOT}o/`,
  optOutsOf: (patient: string): string => `${ROOT}o/${patient}/`,
  links: `${ROOT}l/`,
  identifier: (identifier: string): string => `${ROOT}n/${identifier}/`,
  types: `${ROOT}t/`,
  blocks: `${ROOT}b/`,
  import: (folder: string): string => `${ROOT}k/${folder}/`,
} as const;
