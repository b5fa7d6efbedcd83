/**
 * The manifest of a FHIR bulk export (Bulk Data Access 3.0.0; the 4.0.0 ballot renames `error` to `outcome`, which is
 * read alike because neither is needed). Its URLs point at the server that made the export; only their last path
 * part is used, and only to find a file that the folder walk found by itself, so none can lead outside.
 */
import { z } from 'zod';

const Item = z.looseObject({
  type: z.string().max(64).optional(),
  url: z.string().max(4096),
  count: z.number().int().nonnegative().optional(),
});

const ManifestShape = z.looseObject({
  transactionTime: z.string().max(64),
  output: z.array(Item).max(100_000),
  deleted: z.array(Item).max(100_000).optional(),
  error: z.array(Item).max(100_000).optional(),
  outcome: z.array(Item).max(100_000).optional(),
});

export interface Manifest {
  /** Lines announced per file name, where announced. */
  readonly linesByName: ReadonlyMap<string, number>;
  readonly outputNames: ReadonlySet<string>;
  readonly deletedNames: ReadonlySet<string>;
  /** Files of OperationOutcomes: not records. */
  readonly errorNames: ReadonlySet<string>;
}

const nameOf = (url: string): string => {
  const path = url.replace(/[?#].*$/s, '');
  const last = path.slice(path.lastIndexOf('/') + 1);
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
};

const namesOf = (items: readonly z.infer<typeof Item>[] | undefined): ReadonlySet<string> =>
  new Set((items ?? []).map(({ url }) => nameOf(url)));

/** The manifest in `value`, or undefined when it is something else. */
export const parseManifest = (value: unknown): Manifest | undefined => {
  const parsed = ManifestShape.safeParse(value);
  if (!parsed.success) return undefined;
  const { output, deleted, error, outcome } = parsed.data;
  return {
    linesByName: new Map(
      [...output, ...(deleted ?? [])].flatMap(({ url, count }) =>
        count === undefined ? [] : [[nameOf(url), count] as const],
      ),
    ),
    outputNames: namesOf(output),
    deletedNames: namesOf(deleted),
    errorNames: new Set([...namesOf(error), ...namesOf(outcome)]),
  };
};
