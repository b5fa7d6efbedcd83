/** What a patient's records say, as lines: names of what was coded, and the lines of notes. Bounded per patient, by the patient's own rows. */
import { z } from 'zod';
import { fromUtf8 } from '../../shared/bytes.ts';
import { decodeRecord, decodeRow } from '../records/codec.ts';
import { BLIND_LENGTH, keyOf, prefixOf } from '../records/keys.ts';
import type { Records } from '../records/store.ts';
import { type Cursor, openCursor } from '../records/streams.ts';

const TEXT_TYPES = [
  'Condition',
  'MedicationRequest',
  'MedicationStatement',
  'Procedure',
  'DocumentReference',
];
/** Rows read of a patient and type. */
const ROWS_MAX = 64;
const LINES_MAX = 400;
const LINE_LENGTH_MAX = 400;

const Concept = z.looseObject({
  text: z.string().optional(),
  coding: z.array(z.looseObject({ display: z.string().optional() })).optional(),
});
const Resource = z.looseObject({
  code: Concept.optional(),
  medicationCodeableConcept: Concept.optional(),
  content: z
    .array(
      z.looseObject({
        attachment: z
          .looseObject({ contentType: z.string().optional(), data: z.string().optional() })
          .optional(),
      }),
    )
    .optional(),
});
type Resource = z.infer<typeof Resource>;

const nameOf = (concept: z.infer<typeof Concept> | undefined): readonly string[] => {
  const name = concept?.text ?? concept?.coding?.find(({ display }) => display !== undefined)?.display;
  return name === undefined ? [] : [name];
};

const noteLines = ({ content }: Resource): readonly string[] =>
  (content ?? []).flatMap(({ attachment }) =>
    attachment?.data !== undefined && attachment.contentType?.startsWith('text/plain') === true
      ? Buffer.from(attachment.data, 'base64').toString('utf8').split(/\r?\n/)
      : [],
  );

const linesOf = (json: Uint8Array): readonly string[] => {
  const parsed = Resource.safeParse(JSON.parse(fromUtf8(json)));
  if (!parsed.success) return [];
  const { code, medicationCodeableConcept } = parsed.data;
  return [...nameOf(code), ...nameOf(medicationCodeableConcept), ...noteLines(parsed.data)];
};

interface RowRef {
  readonly patient: string;
  readonly ref: string;
}

async function* rowsUnder({ store }: Records, prefix: string, strip: string): AsyncGenerator<RowRef> {
  for await (const { key, value } of store.list({ prefix })) {
    const position = key.slice(strip.length);
    // `patient/ref`
    if (decodeRow(value).counted)
      yield { patient: position.slice(0, BLIND_LENGTH), ref: position.slice(BLIND_LENGTH + 1) };
  }
}

/** What belongs to `patient` and is next in a stream in patient order. */
const takeRefs = async (cursor: Cursor<RowRef>, patient: string): Promise<readonly string[]> => {
  const refs: string[] = [];
  for (let row = cursor.current(); row !== undefined && row.patient <= patient; row = cursor.current()) {
    if (row.patient === patient && refs.length < ROWS_MAX) refs.push(row.ref);
    await cursor.advance();
  }
  return refs;
};

const seekRefs = async (records: Records, type: string, patient: string): Promise<readonly string[]> => {
  const strip = prefixOf.rows(type);
  const refs: string[] = [];
  for await (const { ref } of rowsUnder(records, prefixOf.rowsOfPatient(type, patient), strip)) {
    refs.push(ref);
    if (refs.length === ROWS_MAX) break;
  }
  return refs;
};

export interface PatientReader {
  /** Different lines of these patient records (those of one person), in order of type and row. */
  lines(patients: readonly string[]): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** Reads patients in store order in one pass over the index; one out of order is looked up. */
export const openPatientReader = async (records: Records): Promise<PatientReader> => {
  const streams: { readonly type: string; readonly cursor: Cursor<RowRef> }[] = [];
  for (const type of TEXT_TYPES) {
    const prefix = prefixOf.rows(type);
    streams.push({ type, cursor: await openCursor(rowsUnder(records, prefix, prefix)) });
  }
  let last = '';
  const refsOf = async (patient: string): Promise<readonly (readonly [string, string])[]> => {
    const inOrder = patient > last;
    const found: (readonly [string, string])[] = [];
    for (const { type, cursor } of streams) {
      const refs = await (inOrder ? takeRefs(cursor, patient) : seekRefs(records, type, patient));
      found.push(...refs.map((ref) => [type, ref] as const));
    }
    if (inOrder) last = patient;
    return found;
  };
  const read = async (type: string, ref: string): Promise<readonly string[]> => {
    const record = await records.store.get(keyOf.record(type, ref));
    return record === undefined ? [] : linesOf(decodeRecord(record).json);
  };
  return {
    async lines(patients) {
      const lines = new Set<string>();
      for (const patient of patients) {
        const texts = await Promise.all((await refsOf(patient)).map(([type, ref]) => read(type, ref)));
        for (const line of texts.flat()) {
          const tidy = line.replaceAll(/\s+/g, ' ').trim().slice(0, LINE_LENGTH_MAX);
          if (tidy !== '' && lines.size < LINES_MAX) lines.add(tidy);
        }
      }
      return [...lines];
    },
    async close() {
      for (const { cursor } of streams) await cursor.close();
    },
  };
};
