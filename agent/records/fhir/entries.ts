/**
 * JSON values of an import → changes of the records. A `Unit` is what was found at one place (a line, a bundle
 * entry): a change, or the reason why there is none.
 */
import { z } from 'zod';
import { utf8 } from '../../../shared/bytes.ts';
import type { RecordChange } from '../draft.ts';
import { FhirId, FhirType, mapResource } from './mapping.ts';
import { parseReference, rewriteReferences, type UrlMap } from './references.ts';

export type Unit =
  | { readonly kind: 'change'; readonly change: RecordChange; readonly notice?: string }
  | { readonly kind: 'unknown'; readonly type: string }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'refused'; readonly reason: string; readonly type?: string };

const refused = (reason: string): Unit => ({ kind: 'refused', reason });

/** @param json the resource's own bytes, stored as they are */
export const unitOfResource = (value: unknown, json: Uint8Array): Unit => {
  const mapped = mapResource(value);
  if (mapped.kind !== 'draft') return mapped;
  const change: RecordChange = { kind: 'put', draft: mapped.draft, json };
  return mapped.notice === undefined
    ? { kind: 'change', change }
    : { kind: 'change', change, notice: mapped.notice };
};

const Entry = z.looseObject({
  fullUrl: z.string().max(2048).optional(),
  resource: z.looseObject({ resourceType: FhirType, id: FhirId.optional() }).optional(),
  request: z.looseObject({ method: z.string().max(16), url: z.string().max(2048) }).optional(),
  search: z.looseObject({ mode: z.string().max(16).optional() }).optional(),
});
type Entry = z.infer<typeof Entry>;

const Bundle = z.looseObject({
  resourceType: z.literal('Bundle'),
  type: z.enum(['transaction', 'batch', 'collection', 'searchset']),
  entry: z.array(z.unknown()).optional(),
});

const BundleType = z.looseObject({ resourceType: z.literal('Bundle') });

export const isBundle = (value: unknown): boolean => BundleType.safeParse(value).success;

const UUID_URL = /^urn:uuid:([0-9a-fA-F-]{36})$/;

/** The id a resource is kept under: its own, or that of the URN that stands for it. */
const idOf = ({ fullUrl, resource }: Entry): string | undefined =>
  resource?.id ?? UUID_URL.exec(fullUrl ?? '')?.[1]?.toLowerCase();

const urlsOf = (entries: readonly (Entry | undefined)[]): UrlMap => {
  const urls = new Map<string, string>();
  for (const entry of entries) {
    const id = entry === undefined ? undefined : idOf(entry);
    if (entry?.fullUrl !== undefined && entry.resource !== undefined && id !== undefined) {
      urls.set(entry.fullUrl, `${entry.resource.resourceType}/${id}`);
    }
  }
  return urls;
};

const unitOfDelete = (url: string): Unit => {
  const target = parseReference(url);
  if (target.kind === 'resource') {
    return { kind: 'change', change: { kind: 'delete', type: target.type, id: target.id } };
  }
  return refused('request.url: a deletion names one resource as Type/id');
};

const unitOfPut = (entry: Entry, urls: UrlMap): Unit => {
  const { resource } = entry;
  if (resource === undefined) return refused('resource: missing');
  const rewritten = rewriteReferences({ ...resource, id: idOf(entry) }, urls);
  return unitOfResource(rewritten, utf8(JSON.stringify(rewritten)));
};

const unitOfEntry = (entry: Entry | undefined, urls: UrlMap): Unit => {
  if (entry === undefined) return refused('the entry is not a FHIR bundle entry');
  switch (entry.request?.method) {
    case 'DELETE':
      return unitOfDelete(entry.request.url);
    case 'GET':
    case 'HEAD':
      return { kind: 'nothing' };
    case undefined:
    case 'POST':
    case 'PUT':
      return unitOfPut(entry, urls);
    default:
      return refused('request.method: not one this import performs');
  }
};

export type BundleUnits =
  | { readonly kind: 'units'; readonly units: Iterable<Unit>; readonly length: number }
  | { readonly kind: 'refused'; readonly reason: string };

/**
 * Entries in their order, one unit each, made as they are asked for. References by `urn:uuid:` (or any `fullUrl`) to
 * an entry of the same bundle become `Type/id`.
 */
export const unitsOfBundle = (value: unknown): BundleUnits => {
  const parsed = Bundle.safeParse(value);
  if (!parsed.success) return { kind: 'refused', reason: 'type: not a bundle of resources to import' };
  const entries = (parsed.data.entry ?? []).map((entry) => Entry.safeParse(entry).data);
  const urls = urlsOf(entries);
  const units = function* (): Generator<Unit> {
    for (const entry of entries) yield unitOfEntry(entry, urls);
  };
  return { kind: 'units', units: units(), length: entries.length };
};
