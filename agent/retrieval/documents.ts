/**
 * The site's own documents: guidelines, protocols, research. Kept whole in the encrypted store; the sentence index
 * lives in memory and is rebuilt when a document changes. Patient records never come here.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import { blind } from '../../shared/store/encrypted.ts';
import type { Store } from '../../shared/store/port.ts';
import { type Bm25Index, createBm25Index, type Match, type PassageTerms } from './bm25.ts';
import { splitText } from './sentences.ts';
import { termsOf } from './text.ts';

export const DocumentClass = z.enum(['public', 'internal', 'confidential', 'restricted']);
export type DocumentClass = z.infer<typeof DocumentClass>;

export interface DocumentLimits {
  readonly documentBytesMax: number;
  readonly documentsMax: number;
  /** Sentences in the index, over all documents; about 1 kB of memory each. */
  readonly sentencesMax: number;
  readonly folderDepthMax: number;
}

export const DOCUMENT_LIMITS: DocumentLimits = {
  documentBytesMax: 2 * 1024 * 1024,
  documentsMax: 2_000,
  sentencesMax: 200_000,
  folderDepthMax: 8,
};

const StoredDocument = z.strictObject({
  version: z.literal(1),
  /** Path below the imported folder, with "/": the document's identity. */
  name: z.string().min(1).max(1024),
  title: z.string().min(1).max(512),
  class: DocumentClass,
  text: z.string(),
});
export type InternalDocument = Readonly<Omit<z.infer<typeof StoredDocument>, 'version'>>;

/** A sentence as it stands in its document (white space folded), and where. */
export interface Passage {
  readonly document: string;
  readonly title: string;
  readonly class: DocumentClass;
  /** Heading above; '' when there is none. */
  readonly section: string;
  /** Line of the file, from 1. */
  readonly line: number;
  readonly text: string;
}

export interface Hit extends Passage {
  readonly score: number;
  /** Share of the question's idf mass found, 0 to 1. */
  readonly coverage: number;
  readonly termsMatched: number;
  /** Of these, in the sentence itself and not only in a heading. */
  readonly ownTermsMatched: number;
}

export interface DocumentsOptions {
  /** Already encrypted. */
  readonly store: Store;
  /** 32 bytes; file names do not appear in store keys. */
  readonly blindingKey: Uint8Array;
  readonly limits?: DocumentLimits;
}

export interface Documents {
  readonly limits: DocumentLimits;
  /** Adds or replaces. @throws QflError `too_large` when a limit is passed */
  put(document: InternalDocument): Promise<void>;
  remove(name: string): Promise<boolean>;
  list(): Promise<readonly Omit<InternalDocument, 'text'>[]>;
  /** Sentences that share a term with the query, best first, of the given classes (default: internal and public). */
  search(query: string, limit: number, classes?: readonly DocumentClass[]): Promise<readonly Hit[]>;
}

const PREFIX = 'documents/d/';
export const ANSWERABLE_CLASSES: readonly DocumentClass[] = ['internal', 'public'];

interface BuiltIndex {
  readonly passages: readonly Passage[];
  readonly bm25: Bm25Index;
}

const tooLarge = (detail: string): QflError =>
  new QflError('too_large', {
    detail,
    next: 'Import fewer or smaller documents, or raise the limit in the configuration.',
  });

const passagesOf = (document: InternalDocument): readonly Passage[] =>
  splitText(document.text).sentences.map((sentence) => ({
    document: document.name,
    title: document.title,
    class: document.class,
    ...sentence,
  }));

/** With its headings: a sentence under "Hypoglycaemia" is about it without saying so. */
const indexedTerms = ({ text, section, title }: Passage): PassageTerms => ({
  own: termsOf(text),
  heading: termsOf(`${title} ${section}`),
});

const buildIndex = (documents: readonly InternalDocument[], sentencesMax: number): BuiltIndex => {
  const passages: Passage[] = [];
  for (const document of documents) {
    passages.push(...passagesOf(document));
    if (passages.length > sentencesMax)
      throw tooLarge(`the documents have more than ${sentencesMax} sentences`);
  }
  return { passages, bm25: createBm25Index(passages.map(indexedTerms)) };
};

const toHit = (passages: readonly Passage[], { passage, ...match }: Match): Hit => ({
  ...passages[passage]!,
  ...match,
});

export const createDocuments = ({
  store,
  blindingKey,
  limits = DOCUMENT_LIMITS,
}: DocumentsOptions): Documents => {
  const keyOf = (name: string): string => PREFIX + blind(blindingKey, 'document', name);
  // One index per set of classes; emptied by every change.
  const indexes = new Map<string, Promise<BuiltIndex>>();

  const load = async (): Promise<readonly InternalDocument[]> => {
    const documents: InternalDocument[] = [];
    for await (const { value } of store.list({ prefix: PREFIX })) {
      const { version: _, ...document } = StoredDocument.parse(JSON.parse(fromUtf8(value)));
      documents.push(document);
    }
    return documents.toSorted((left, right) => (left.name < right.name ? -1 : 1));
  };

  const indexOf = (classes: readonly DocumentClass[]): Promise<BuiltIndex> => {
    const name = classes.toSorted().join(' ');
    const known = indexes.get(name);
    if (known !== undefined) return known;
    const built = load().then((documents) =>
      buildIndex(
        documents.filter((document) => classes.includes(document.class)),
        limits.sentencesMax,
      ),
    );
    indexes.set(name, built);
    // A failed build must not answer for ever.
    built.catch(() => indexes.delete(name));
    return built;
  };

  const countOthers = async (key: string): Promise<number> => {
    let count = 0;
    for await (const other of store.keys({ prefix: PREFIX })) if (other !== key) count += 1;
    return count;
  };

  return {
    limits,
    async put(document) {
      const stored = StoredDocument.parse({ version: 1, ...document });
      const value = utf8(JSON.stringify(stored));
      const key = keyOf(document.name);
      if (utf8(document.text).byteLength > limits.documentBytesMax)
        throw tooLarge('the document is larger than the limit');
      if ((await countOthers(key)) >= limits.documentsMax)
        throw tooLarge('there are as many documents as the limit allows');
      await store.write([{ type: 'put', key, value }]);
      indexes.clear();
    },
    async remove(name) {
      const key = keyOf(name);
      const present = (await store.get(key)) !== undefined;
      if (present) await store.write([{ type: 'del', key }]);
      indexes.clear();
      return present;
    },
    list: async () =>
      (await load()).map(({ name, title, class: documentClass }) => ({ name, title, class: documentClass })),
    async search(query, limit, classes = ANSWERABLE_CLASSES) {
      const { passages, bm25 } = await indexOf(classes);
      return bm25.search(termsOf(query), limit).map((match) => toHit(passages, match));
    },
  };
};
