/**
 * One change of the records → the store operations that make it true: what an older version of the same resource
 * wrote is taken out, what the new one says is put in. Nothing here writes; `store.ts` does, once per batch.
 */
import { encodeRecord, encodeRow, decodeRecord, type RecordHeader, VALUES_KEPT } from './codec.ts';
import type { ChangeOutcome, PatientTarget, RecordChange, RecordDraft, RecordPart } from './draft.ts';
import { BLIND_LENGTH, keyOf, prefixOf, type RecordKeys } from './keys.ts';
import type { Overlay } from './overlay.ts';

export interface ApplyContext {
  readonly overlay: Overlay;
  readonly keys: RecordKeys;
  /** Names the import; tells a re-import from a duplicate inside one. */
  readonly run: string;
  /** Every type ever stored; `apply` adds to it. */
  readonly types: Set<string>;
}

/** Where the resource of a change is kept. */
export const recordKeyOf = (keys: RecordKeys, change: RecordChange): string => {
  const { type, id } = change.kind === 'put' ? change.draft : change;
  return keyOf.record(type, keys.ref(type, id));
};

type PutChange = Extract<RecordChange, { kind: 'put' }>;
const EMPTY = new Uint8Array(0);

const removeWritten = (overlay: Overlay, type: string, ref: string, header: RecordHeader): void => {
  overlay.remove(keyOf.record(type, ref));
  const { patient } = header;
  if (patient === undefined) return;
  overlay.remove(keyOf.row(type, patient, ref));
  for (const term of header.terms) overlay.remove(keyOf.coded(term, patient, ref));
  for (const part of header.parts ?? []) {
    overlay.remove(keyOf.row(type, patient, part.ref));
    for (const term of part.terms) overlay.remove(keyOf.coded(term, patient, part.ref));
  }
  for (const other of header.links) overlay.remove(keyOf.link(patient, other));
  for (const identifier of header.identifiers) overlay.remove(keyOf.identifier(identifier, patient));
  if (header.optOut) overlay.remove(keyOf.optOut(patient, ref));
};

/** A row of the resource or of a part of it, in the order of patients and under each of its codes. */
const putRow = (
  { overlay, keys }: ApplyContext,
  { type, counted }: RecordDraft,
  { patient, ref, row }: { patient: string; ref: string; row: Pick<RecordPart, 'codes' | 'attributes'> },
): void => {
  overlay.put(keyOf.row(type, patient, ref), encodeRow(row.attributes, counted));
  if (!counted) return;
  for (const { code, systems } of row.codes)
    overlay.put(keyOf.coded(keys.term(type, code), patient, ref), encodeRow(row.attributes, true, systems));
};

/** No FHIR id has a "#", so no resource has this name. */
const partRef = (keys: RecordKeys, { type, id }: RecordDraft, { at }: RecordPart): string =>
  keys.ref(type, `${id}#${at}`);

const putRows = (context: ApplyContext, draft: RecordDraft, ref: string, header: RecordHeader): void => {
  const { overlay } = context;
  const { patient } = header;
  if (patient === undefined) return;
  putRow(context, draft, { patient, ref, row: draft });
  for (const part of draft.parts)
    putRow(context, draft, { patient, ref: partRef(context.keys, draft, part), row: part });
  for (const other of header.links) overlay.put(keyOf.link(patient, other), EMPTY);
  for (const identifier of header.identifiers) overlay.put(keyOf.identifier(identifier, patient), EMPTY);
  if (header.optOut) overlay.put(keyOf.optOut(patient, ref), EMPTY);
};

const headerOf = (context: ApplyContext, draft: RecordDraft, patient: string | undefined): RecordHeader => {
  const { keys, run } = context;
  return {
    version: 1,
    run,
    ...(patient === undefined ? {} : { patient }),
    terms: draft.counted ? draft.codes.map(({ code }) => keys.term(draft.type, code)) : [],
    links: draft.links.map((id) => keys.patient(id)),
    identifiers: draft.identifiers.map(({ system, value }) => keys.identifier(system, value)),
    optOut: draft.optOut,
    ...(draft.parts.length === 0
      ? {}
      : {
          parts: draft.parts.map((part) => ({
            ref: partRef(keys, draft, part),
            terms: draft.counted ? part.codes.map(({ code }) => keys.term(draft.type, code)) : [],
          })),
        }),
  };
};

type Resolved = { readonly patient: string | undefined } | { readonly unresolved: string };

const resolve = async (context: ApplyContext, target: PatientTarget | undefined): Promise<Resolved> => {
  if (target === undefined) return { patient: undefined };
  if (target.kind === 'id') return { patient: context.keys.patient(target.id) };
  const prefix = prefixOf.identifier(context.keys.identifier(target.system, target.value));
  const matches = await context.overlay.keys(prefix);
  if (matches.length === 1) return { patient: matches[0]!.slice(-BLIND_LENGTH) };
  return {
    unresolved:
      matches.length === 0
        ? 'the conditional reference matches no imported patient'
        : 'the conditional reference matches several imported patients',
  };
};

const applyPut = async (context: ApplyContext, { draft, json }: PutChange): Promise<ChangeOutcome> => {
  const { overlay, keys } = context;
  const resolved = await resolve(context, draft.patient);
  if ('unresolved' in resolved) return { kind: 'unresolved', reason: resolved.unresolved };
  const ref = keys.ref(draft.type, draft.id);
  const earlier = await overlay.get(keyOf.record(draft.type, ref));
  const old = earlier === undefined ? undefined : decodeRecord(earlier);
  if (old !== undefined) removeWritten(overlay, draft.type, ref, old.header);
  const header = headerOf(context, draft, resolved.patient);
  overlay.put(keyOf.record(draft.type, ref), encodeRecord(header, json));
  putRows(context, draft, ref, header);
  if (!context.types.has(draft.type)) overlay.put(keyOf.type(draft.type), VALUES_KEPT);
  context.types.add(draft.type);
  if (old === undefined) return { kind: 'added' };
  const duplicate = old.header.run === context.run && Buffer.compare(old.json, json) !== 0;
  return { kind: 'replaced', duplicate };
};

const removeOne = async (overlay: Overlay, type: string, ref: string): Promise<number> => {
  const value = await overlay.get(keyOf.record(type, ref));
  if (value === undefined) return 0;
  removeWritten(overlay, type, ref, decodeRecord(value).header);
  return 1;
};

/** Deleting a Patient takes every resource of theirs along; opt-outs the hospital set itself stay in force. */
const removePatient = async ({ overlay, types }: ApplyContext, patient: string): Promise<number> => {
  let removed = 0;
  for (const type of types) {
    for (const key of await overlay.keys(prefixOf.rowsOfPatient(type, patient))) {
      removed += await removeOne(overlay, type, key.slice(-BLIND_LENGTH));
    }
  }
  return removed;
};

export const applyChange = async (context: ApplyContext, change: RecordChange): Promise<ChangeOutcome> => {
  if (change.kind === 'put') return applyPut(context, change);
  const ref = context.keys.ref(change.type, change.id);
  const removed =
    (change.type === 'Patient' ? await removePatient(context, ref) : 0) +
    (await removeOne(context.overlay, change.type, ref));
  return removed === 0 ? { kind: 'absent' } : { kind: 'deleted', resources: removed };
};
