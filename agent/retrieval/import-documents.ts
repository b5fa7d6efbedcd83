/** Import of a folder of `.md` and `.txt` files into the site's documents. */
import { isUtf8 } from 'node:buffer';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { QflError } from '../../shared/errors.ts';
import type { DocumentClass, Documents, InternalDocument } from './documents.ts';
import { DocumentClass as DocumentClassSchema } from './documents.ts';
import { splitText } from './sentences.ts';

export interface DocumentsImportResult {
  readonly imported: number;
  /** Files that are neither `.md` nor `.txt`, or links. */
  readonly ignored: number;
  readonly rejected: readonly { readonly file: string; readonly reason: string }[];
}

export interface DocumentsImportOptions {
  /** For files that do not say; default `internal`. */
  readonly class?: DocumentClass;
  readonly signal?: AbortSignal;
}

const FRONT_MATTER = /^---\r?\n([\s\S]{0,4096}?)\r?\n---\r?\n/;
const TITLE_LENGTH_MAX = 200;

interface FoundFile {
  readonly path: string;
  readonly name: string;
  readonly bytes: number;
}

interface Listing {
  readonly files: FoundFile[];
  ignored: number;
}

const list = async (folder: string, prefix: string, depthLeft: number, into: Listing): Promise<Listing> => {
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.toSorted((left, right) => (left.name < right.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    const name = `${prefix}${entry.name}`;
    if (entry.isDirectory() && depthLeft > 0) await list(path, `${name}/`, depthLeft - 1, into);
    // Links are not followed: the import stays below its folder.
    else if (entry.isFile() && /\.(md|txt)$/i.test(entry.name)) {
      into.files.push({ path, name, bytes: (await stat(path)).size });
    } else into.ignored += 1;
  }
  return into;
};

/** `title:` and `class:` of a front matter block, which stays in the text as blank lines so that line numbers hold. */
const readFrontMatter = (text: string): { body: string; fields: ReadonlyMap<string, string> } => {
  const match = FRONT_MATTER.exec(text);
  if (match === null) return { body: text, fields: new Map() };
  const fields = new Map(
    (match[1] ?? '').split(/\r?\n/).flatMap((line) => {
      const colon = line.indexOf(':');
      return colon < 0 ? [] : [[line.slice(0, colon).trim(), line.slice(colon + 1).trim()] as const];
    }),
  );
  const blank = match[0].replace(/[^\n]+/g, '');
  return { body: blank + text.slice(match[0].length), fields };
};

type ReadDocument = { readonly document: InternalDocument } | { readonly reason: string };

const toDocument = (name: string, bytes: Buffer, fallback: DocumentClass): ReadDocument => {
  if (!isUtf8(bytes)) return { reason: 'not valid UTF-8' };
  if (bytes.includes(0)) return { reason: 'a NUL byte' };
  const { body, fields } = readFrontMatter(bytes.toString('utf8').replace(/^\uFEFF/, ''));
  const given = DocumentClassSchema.safeParse(fields.get('class') ?? fallback);
  if (!given.success) return { reason: 'class: not one of public, internal, confidential, restricted' };
  const { title: heading, sentences } = splitText(body);
  if (sentences.length === 0) return { reason: 'no text' };
  const title = fields.get('title') ?? heading ?? basename(name).replace(/\.[^.]+$/, '');
  return {
    document: { name, title: title.slice(0, TITLE_LENGTH_MAX) || name, class: given.data, text: body },
  };
};

const openFolder = async (folder: string, depth: number): Promise<Listing> => {
  try {
    return await list(folder, '', depth, { files: [], ignored: 0 });
  } catch (cause) {
    throw new QflError('invalid_request', {
      detail: 'the folder of documents cannot be read',
      next: 'Give a folder that exists and that this program may read.',
      cause,
    });
  }
};

/**
 * Adds every `.md` and `.txt` file below `folder`, replacing those of the same name; what cannot be read is reported
 * and skipped.
 * @throws QflError `invalid_request` without such a folder, `too_large` when the store is full, `cancelled`
 */
export const importDocuments = async (
  documents: Documents,
  folder: string,
  { class: fallback = 'internal', signal }: DocumentsImportOptions = {},
): Promise<DocumentsImportResult> => {
  const { files, ignored } = await openFolder(folder, documents.limits.folderDepthMax);
  const rejected: { file: string; reason: string }[] = [];
  let imported = 0;
  for (const { path, name, bytes } of files) {
    if (signal?.aborted === true)
      throw new QflError('cancelled', { detail: 'the import of documents was stopped' });
    if (bytes > documents.limits.documentBytesMax) {
      rejected.push({ file: name, reason: 'larger than the limit' });
      continue;
    }
    const read = toDocument(name, await readFile(path), fallback);
    if ('reason' in read) rejected.push({ file: name, reason: read.reason });
    else {
      await documents.put(read.document);
      imported += 1;
    }
  }
  return { imported, ignored, rejected };
};
