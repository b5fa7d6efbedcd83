/**
 * A table with a declared schema becomes records like any other: a Patient, its Observations and its Conditions. So opt-outs, erasure, data blocks,
 * statistics and trainings treat them alike. The table is read in pieces and each patient is written whole; what it says of a patient has ids made of
 * the table's name, so that the same table imported again replaces what it brought and adds nothing.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { createGunzip } from 'node:zlib';
import { toHex, utf8 } from '../../shared/bytes.ts';
import { HOUR_MS } from '../../shared/clock.ts';
import { hashOf } from '../../shared/crypto/hash.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import { createCsvPatients, type CsvPatient } from '../../shared/learning/csv.ts';
import type { CsvSchema } from '../../shared/wire/csv-schema.ts';
import { assignBlocks } from './blocks.ts';
import type { RecordChange } from './draft.ts';
import { mapResource } from './fhir/mapping.ts';
import { createReporter } from './fhir/report.ts';
import type { ImportOptions, ImportResult } from './import-fhir.ts';
import { IMPORT_LIMITS } from './limits.ts';
import type { Records } from './store.ts';
import { upgradeRows } from './upgrade.ts';

/** Changes to one write. */
const BATCH = 500;
const ID = /^[A-Za-z0-9\-.]{1,64}$/;
const ID_DIGITS = 40;
/** What a clock in a table that names no day counts from. */
const FIRST_DAY_HOURS = Date.UTC(2000, 0, 1) / HOUR_MS;

export interface CsvImport {
  readonly file: string;
  readonly schema: CsvSchema;
  /** `YYYY-MM-DD`: on which the ages of the table were true, and when what has no time was measured. */
  readonly today: string;
}

type Resource = Readonly<Record<string, unknown>>;

/** Ids of a patient's own system stay, so that a table adds to the records that are here; others are hashed. */
const patientIdOf = (patient: string, table: string, hasPatients: boolean): string =>
  hasPatients && ID.test(patient)
    ? patient
    : toHex(hashOf('qfl table patient', utf8(hasPatients ? '' : table), utf8(patient))).slice(0, ID_DIGITS);

const birthOf = (age: number, today: string): string => {
  const [year = '', ...rest] = today.split('-');
  return [String(Number(year) - Math.floor(age)).padStart(4, '0'), ...rest].join('-');
};

/** Resources of one patient, in an order that the table decides. */
const resourcesOf = (
  { patient, facts }: CsvPatient,
  { schema, today, file }: CsvImport,
): readonly Resource[] => {
  const table = basename(file);
  const has = (role: string): boolean => schema.columns.some((column) => column.role === role);
  const id = patientIdOf(patient, table, has('patient'));
  const subject = { reference: `Patient/${id}` };
  const idOf = (...parts: readonly string[]): string =>
    toHex(hashOf('qfl table row', ...[table, id, ...parts].map(utf8))).slice(0, ID_DIGITS);
  const isTimed = has('time');
  const isDated = schema.columns.some((column) => column.role === 'time' && column.format === 'date');
  const momentOf = (hours: number): string =>
    isTimed ? new Date((hours + (isDated ? 0 : FIRST_DAY_HOURS)) * HOUR_MS).toISOString() : today;
  return [
    {
      resourceType: 'Patient',
      id,
      ...(facts.sex === undefined ? {} : { gender: facts.sex }),
      ...(facts.age === undefined || facts.age < 0 || facts.age > 150
        ? {}
        : { birthDate: birthOf(facts.age, today) }),
    },
    ...[...facts.conditions].map((code) => ({
      resourceType: 'Condition',
      id: idOf('condition', code),
      clinicalStatus: { coding: [{ code: 'active' }] },
      verificationStatus: { coding: [{ code: 'confirmed' }] },
      code: { coding: [{ code }] },
      subject,
      onsetDateTime: today,
    })),
    ...facts.measurements.map(({ code, units, hours, value }, at) => ({
      resourceType: 'Observation',
      id: idOf('measurement', String(at)),
      status: 'final',
      code: { coding: [{ code }] },
      subject,
      effectiveDateTime: momentOf(hours),
      valueQuantity: { value, ...(units[0] === undefined ? {} : { unit: units[0] }) },
    })),
  ];
};

/** Only what the records do not have: a table that says nothing of age and sex must not wipe what is known. */
const isNews = async (records: Records, resource: Resource): Promise<boolean> =>
  resource['resourceType'] !== 'Patient' ||
  resource['gender'] !== undefined ||
  resource['birthDate'] !== undefined ||
  (await records.get('Patient', String(resource['id']))) === undefined;

async function* piecesOf(file: string, onBytes: (bytes: number) => void): AsyncGenerator<string> {
  const raw = createReadStream(file);
  raw.on('data', (piece) => onBytes(piece.length));
  const text = file.endsWith('.gz') ? raw.pipe(createGunzip()) : raw;
  raw.once('error', (error) => text.destroy(error));
  const decoder = new TextDecoder('utf-8', { fatal: true });
  for await (const piece of text) yield decoder.decode(piece as Uint8Array, { stream: true });
  yield decoder.decode();
}

async function* patientsOf(
  { file, schema }: CsvImport,
  onBytes: (bytes: number) => void,
): AsyncGenerator<CsvPatient> {
  const patients = createCsvPatients(schema);
  for await (const piece of piecesOf(file, onBytes)) yield* patients.push(piece);
  yield* patients.end();
}

const unreadable = (file: string, cause: unknown): QflError =>
  new QflError('invalid_request', {
    detail: `${basename(file)} cannot be read as a table: ${cause instanceof TypeError ? 'it is not UTF-8' : 'see whether it is there and whole'}`,
    next: 'Give a CSV file in UTF-8, plain or gzip, and its schema with --schema.',
    cause,
  });

/**
 * @throws QflError `invalid_request` for a table that is not as its schema says, with the line; `cancelled`; `storage_failed`. What was written before
 *   stays: import the table again when it is mended.
 */
export const importCsv = async (
  records: Records,
  request: CsvImport,
  { onProgress, signal }: ImportOptions = {},
): Promise<ImportResult> => {
  const bytesTotal = await stat(request.file).then(
    ({ size }) => size,
    (cause: unknown) => {
      throw unreadable(request.file, cause);
    },
  );
  const reporter = createReporter(IMPORT_LIMITS);
  const run = records.newRun();
  let bytesDone = 0;
  let batch: RecordChange[] = [];
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await records.apply(run, batch);
    batch = [];
    onProgress?.({ file: basename(request.file), bytesDone, bytesTotal, ...reporter.progress() });
    signal?.throwIfAborted();
  };
  const add = (resource: Resource): void => {
    const mapped = mapResource(resource);
    if (mapped.kind !== 'draft') throw new QflError('internal', { detail: 'a table made no resource' });
    batch.push({ kind: 'put', draft: mapped.draft, json: utf8(JSON.stringify(resource)) });
    reporter.accepted(mapped.draft.type);
  };
  try {
    for await (const patient of patientsOf(request, (bytes) => (bytesDone += bytes)))
      for (const resource of resourcesOf(patient, request)) {
        if (await isNews(records, resource)) add(resource);
        if (batch.length >= BATCH) await flush();
      }
  } catch (error) {
    if (signal?.aborted === true)
      throw new QflError('cancelled', {
        detail: 'the import was stopped',
        next: 'Start the same import again: what is here already is replaced by itself.',
      });
    throw toQflError(error).code === 'internal' ? unreadable(request.file, error) : error;
  }
  await flush();
  reporter.fileDone();
  await upgradeRows(records);
  const blocks = await records.exclusively(() => assignBlocks(records));
  return { ...reporter.snapshot(), resumed: false, blocks };
};
