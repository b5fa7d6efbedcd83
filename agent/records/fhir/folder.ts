/** What is in a folder to import, and in which order. */
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { QflError } from '../../../shared/errors.ts';
import type { ImportLimits } from '../limits.ts';
import { isBundle } from './entries.ts';
import { parseJson } from './json.ts';
import { type Manifest, parseManifest } from './manifest.ts';
import type { ImportProblem } from './report.ts';
import { FileRefused, readHead, readWhole } from './source.ts';

export interface SourceFile {
  readonly path: string;
  /** Below the folder, with "/": what reports and checkpoints name. */
  readonly name: string;
  readonly bytes: number;
  /** `lines`: one JSON value per line. `document`: one JSON value. */
  readonly form: 'lines' | 'document';
  /** Lines that the manifest announces. */
  readonly linesAnnounced: number | undefined;
}

export interface FolderContent {
  readonly root: string;
  readonly files: readonly SourceFile[];
  readonly problems: readonly ImportProblem[];
  readonly ignored: number;
}

const HEAD_BYTES = 64 * 1024;
const MANIFEST_BYTES_MAX = 16 * 1024 * 1024;
const NEWLINE = 0x0a;

/** Deletions run last: a resource that an export both brings and deletes is deleted, which is the patient's safe side. */
const RANK = { patients: 0, lines: 1, document: 2, bundleLines: 3, deletions: 4 } as const;

interface FoundFile {
  readonly path: string;
  readonly name: string;
  readonly bytes: number;
}

interface Walk {
  readonly found: FoundFile[];
  readonly problems: ImportProblem[];
}

const noticed = (file: string, reason: string): ImportProblem => ({ file, severity: 'noticed', reason });

const checkRoom = (into: Walk, limits: ImportLimits): void => {
  if (into.found.length <= limits.filesMax) return;
  throw new QflError('too_large', {
    detail: `the folder holds more than ${limits.filesMax} files`,
    next: 'Import it in parts, one subfolder at a time.',
  });
};

const unreadable = (cause: unknown): cause is NodeJS.ErrnoException =>
  cause instanceof Error && 'code' in cause;

/** What cannot be listed is reported: one locked subfolder must not keep the rest from being imported. */
const listEntries = async (folder: string, prefix: string, into: Walk): Promise<readonly Dirent[]> => {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.toSorted((left, right) => (left.name < right.name ? -1 : 1));
  } catch (error) {
    if (!unreadable(error)) throw error;
    into.problems.push({ file: prefix, severity: 'skipped', reason: 'the folder could not be read' });
    return [];
  }
};

const sizeOf = async (path: string): Promise<number> => {
  try {
    return (await stat(path)).size;
  } catch (error) {
    // Gone meanwhile: listed all the same, and reported when it is read.
    if (!unreadable(error)) throw error;
    return 0;
  }
};

/** Symbolic links are not followed, so the walk ends and stays below its folder. */
const walk = async (
  folder: string,
  prefix: string,
  depth: number,
  limits: ImportLimits,
  into: Walk,
): Promise<void> => {
  if (depth > limits.folderDepthMax) {
    into.problems.push(noticed(prefix, 'folders nested deeper than the limit were not read'));
    return;
  }
  for (const entry of await listEntries(folder, prefix, into)) {
    const name = `${prefix}${entry.name}`;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await walk(path, `${name}/`, depth + 1, limits, into);
    else if (entry.isSymbolicLink()) into.problems.push(noticed(name, 'a symbolic link was not followed'));
    else if (entry.isFile()) into.found.push({ path, name, bytes: await sizeOf(path) });
    else into.problems.push(noticed(name, 'not a regular file'));
    checkRoom(into, limits);
  }
};

type NameForm = 'lines' | 'json' | 'unnamed' | 'other';

const formOfName = (name: string): NameForm => {
  const bare = basename(name)
    .toLowerCase()
    .replace(/\.(gz|gzip)$/, '');
  if (/\.(ndjson|jsonl)$/.test(bare)) return 'lines';
  if (bare.endsWith('.json')) return 'json';
  return bare.includes('.') ? 'other' : 'unnamed';
};

type Head = { readonly first: unknown; readonly form: SourceFile['form']; readonly isJson: boolean };

const looksJson = (head: Buffer): boolean => /^(\uFEFF)?\s*[{[]/.test(head.subarray(0, 256).toString('utf8'));

/** Reads the first line: if it is a whole JSON value, the file is lines, even when it is named .json. */
const readForm = async (file: FoundFile, limits: ImportLimits): Promise<Head> => {
  const head = await readHead(file.path, limits, HEAD_BYTES);
  const end = head.indexOf(NEWLINE);
  const parsed = parseJson(end < 0 ? head : head.subarray(0, end), limits.depthMax);
  const first = parsed.kind === 'value' ? parsed.value : undefined;
  const rest = end < 0 ? '' : head.subarray(end).toString('utf8').trim();
  const single = rest === '' || parsed.kind === 'refused';
  return { first, form: single ? 'document' : 'lines', isJson: looksJson(head) };
};

const Typed = z.looseObject({ resourceType: z.string() });

interface Classified {
  readonly file: SourceFile;
  readonly rank: number;
  readonly manifest?: Manifest;
}

const readManifest = async (
  file: FoundFile,
  form: SourceFile['form'],
  limits: ImportLimits,
): Promise<Manifest | undefined> => {
  if (form !== 'document' || file.bytes > MANIFEST_BYTES_MAX) return undefined;
  // A bundle is parsed once, when it is imported; only what says transactionTime near its start is parsed here.
  if (!(await readHead(file.path, limits, HEAD_BYTES)).includes('"transactionTime"')) return undefined;
  const parsed = parseJson(await readWhole(file.path, limits), limits.depthMax);
  return parsed.kind === 'value' ? parseManifest(parsed.value) : undefined;
};

const rankOf = (form: SourceFile['form'], first: unknown): number => {
  if (form === 'document') return RANK.document;
  if (isBundle(first)) return RANK.bundleLines;
  return Typed.safeParse(first).data?.resourceType === 'Patient' ? RANK.patients : RANK.lines;
};

/** Undefined: not a file this import reads. A file that cannot be opened is still listed, and reported when read. */
const classify = async (file: FoundFile, limits: ImportLimits): Promise<Classified | undefined> => {
  const named = formOfName(file.name);
  if (named === 'other') return undefined;
  const base = { ...file, linesAnnounced: undefined };
  try {
    const head = await readForm(file, limits);
    if (named === 'unnamed' && !head.isJson) return undefined;
    const form = named === 'lines' ? 'lines' : head.form;
    const manifest = named === 'lines' ? undefined : await readManifest(file, form, limits);
    const classified = { file: { ...base, form }, rank: rankOf(form, head.first) };
    return manifest === undefined ? classified : { ...classified, manifest };
  } catch (error) {
    if (!(error instanceof FileRefused)) throw error;
    return { file: { ...base, form: named === 'lines' ? 'lines' : 'document' }, rank: RANK.lines };
  }
};

/** Names of the manifest apply to files in its own folder. */
const folderOf = (name: string): string => name.slice(0, name.lastIndexOf('/') + 1);

const missingFiles = (owner: Classified, files: readonly Classified[]): ImportProblem[] => {
  const folder = folderOf(owner.file.name);
  const present = new Set(files.map(({ file }) => file.name));
  const announced = [...(owner.manifest?.outputNames ?? []), ...(owner.manifest?.deletedNames ?? [])];
  return announced.flatMap((name) =>
    [name, `${name}.gz`].some((spelling) => present.has(`${folder}${spelling}`))
      ? []
      : [
          {
            file: owner.file.name,
            severity: 'noticed',
            reason: 'the manifest names a file that is not here',
          } as const,
        ],
  );
};

const withManifest = (item: Classified, manifests: ReadonlyMap<string, Manifest>): Classified | undefined => {
  const manifest = manifests.get(folderOf(item.file.name));
  const full = basename(item.file.name);
  const bare = full.replace(/\.gz$/, '');
  const isIn = (names: ReadonlySet<string> | undefined): boolean =>
    names !== undefined && (names.has(full) || names.has(bare));
  if (isIn(manifest?.errorNames)) return undefined;
  const linesAnnounced = manifest?.linesByName.get(full) ?? manifest?.linesByName.get(bare);
  const rank = isIn(manifest?.deletedNames) ? RANK.deletions : item.rank;
  return { file: { ...item.file, linesAnnounced }, rank };
};

const openRoot = async (folder: string): Promise<string> => {
  try {
    const root = await realpath(folder);
    if ((await stat(root)).isDirectory()) return root;
  } catch (cause) {
    throw new QflError('invalid_request', {
      detail: 'the folder to import cannot be opened',
      next: 'Give a folder that exists and that this program may read.',
      cause,
    });
  }
  throw new QflError('invalid_request', {
    detail: 'the path to import is not a folder',
    next: 'Give the folder that holds the .ndjson or .json files.',
  });
};

/**
 * Files of `folder` and below in a fixed order: patients, other lines, documents, bundles in lines, deletions; by
 * name within each.
 * @throws QflError `invalid_request` when it is no folder, `too_large` when it holds too many files
 */
export const listFolder = async (folder: string, limits: ImportLimits): Promise<FolderContent> => {
  const root = await openRoot(folder);
  const walked: Walk = { found: [], problems: [] };
  await walk(root, '', 0, limits, walked);
  const classified: Classified[] = [];
  for (const file of walked.found)
    classified.push(...[await classify(file, limits)].filter((item) => item !== undefined));
  const owners = classified.filter(({ manifest }) => manifest !== undefined);
  const manifests = new Map(owners.map(({ file, manifest }) => [folderOf(file.name), manifest!]));
  const records = classified
    .filter(({ manifest }) => manifest === undefined)
    .flatMap((item) => withManifest(item, manifests) ?? []);
  // Stable, and the walk is sorted by name.
  const ordered = records.toSorted((left, right) => left.rank - right.rank);
  return {
    root,
    files: ordered.map(({ file }) => file),
    problems: [...walked.problems, ...owners.flatMap((owner) => missingFiles(owner, classified))],
    ignored: walked.found.length - records.length - owners.length,
  };
};
