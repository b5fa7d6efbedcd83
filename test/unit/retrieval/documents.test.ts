import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createDocuments, DOCUMENT_LIMITS, type Documents } from '../../../agent/retrieval/documents.ts';
import { importDocuments } from '../../../agent/retrieval/import-documents.ts';
import { encryptedStore } from '../../../shared/store/encrypted.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { BLINDING_KEY, DATA_KEY, temporaryFolder } from '../../fixtures/fhir.ts';

const open = (store: Store = createMemoryStore(), limits = DOCUMENT_LIMITS): Documents =>
  createDocuments({ store: encryptedStore(store, DATA_KEY), blindingKey: BLINDING_KEY, limits });

const FILES = {
  'sepsis.md': '# Sepsis\n\n## First hour\n\nTake blood cultures. Give antibiotics.\n',
  'sub/notes.txt': 'Visiting hours end at eight.\n',
  'public.md': '---\ntitle: Leaflet\nclass: public\n---\nWash your hands.\n',
  'secret.md': '---\nclass: restricted\n---\nThe locker code is written here.\n',
  'picture.png': 'x',
};

describe('internal documents', () => {
  it('are imported from a folder with title, class, section and line', async () => {
    await using folder = await temporaryFolder(FILES);
    const documents = open();
    expect(await importDocuments(documents, folder.path)).toEqual({ imported: 4, ignored: 1, rejected: [] });
    expect(await documents.list()).toEqual([
      { name: 'public.md', title: 'Leaflet', class: 'public' },
      { name: 'secret.md', title: 'secret', class: 'restricted' },
      { name: 'sepsis.md', title: 'Sepsis', class: 'internal' },
      { name: 'sub/notes.txt', title: 'notes', class: 'internal' },
    ]);
    expect((await documents.search('antibiotics', 5))[0]).toMatchObject({
      document: 'sepsis.md',
      title: 'Sepsis',
      section: 'First hour',
      line: 5,
      text: 'Give antibiotics.',
    });
    expect((await documents.search('wash hands', 1))[0]).toMatchObject({ line: 5, title: 'Leaflet' });
  });

  it('of a class that was not asked for are not found', async () => {
    await using folder = await temporaryFolder(FILES);
    const documents = open();
    await importDocuments(documents, folder.path);
    expect(await documents.search('locker code', 5)).toEqual([]);
    expect(await documents.search('locker code', 5, ['restricted'])).toHaveLength(1);
  });

  it('are found as they now stand after a change, and from a store opened again', async () => {
    const store = createMemoryStore();
    const documents = open(store);
    await documents.put({ name: 'a.md', title: 'A', class: 'internal', text: 'Old rule about gloves.' });
    expect(await documents.search('gloves', 5)).toHaveLength(1);
    await documents.put({ name: 'a.md', title: 'A', class: 'internal', text: 'New rule about masks.' });
    expect(await documents.search('gloves', 5)).toEqual([]);
    expect(await open(store).search('masks', 5)).toHaveLength(1);
    expect(await documents.remove('a.md')).toBe(true);
    expect(await documents.remove('a.md')).toBe(false);
    expect(await documents.search('masks', 5)).toEqual([]);
  });

  it('that cannot be read are reported, the others imported', async () => {
    await using outside = await temporaryFolder({ 'x.md': 'Outside text.' });
    await using folder = await temporaryFolder({
      'bad-utf8.md': Buffer.from([0x41, 0xff, 0xfe]),
      'nul.txt': 'a\u0000b',
      'empty.md': '\n\n',
      'class.md': '---\nclass: secret-ish\n---\nText.',
      'good.md': 'Good text.',
      'large.txt': 'word '.repeat(300),
    });
    await symlink(join(outside.path, 'x.md'), join(folder.path, 'link.md'));
    const documents = open(createMemoryStore(), { ...DOCUMENT_LIMITS, documentBytesMax: 1000 });
    const result = await importDocuments(documents, folder.path);
    expect(result).toEqual({
      imported: 1,
      ignored: 1,
      rejected: [
        { file: 'bad-utf8.md', reason: 'not valid UTF-8' },
        { file: 'class.md', reason: 'class: not one of public, internal, confidential, restricted' },
        { file: 'empty.md', reason: 'no text' },
        { file: 'large.txt', reason: 'larger than the limit' },
        { file: 'nul.txt', reason: 'a NUL byte' },
      ],
    });
  });

  it('are bounded in number, size and sentences', async () => {
    const documents = open(createMemoryStore(), {
      ...DOCUMENT_LIMITS,
      documentsMax: 1,
      documentBytesMax: 50,
      sentencesMax: 3,
    });
    const put = (name: string, text: string) => documents.put({ name, title: name, class: 'internal', text });
    await put('a', 'One. Two. Three. Four. Five.');
    await expect(put('b', 'x')).rejects.toMatchObject({ code: 'too_large' });
    await expect(put('a', 'x'.repeat(60))).rejects.toMatchObject({ code: 'too_large' });
    await expect(documents.search('One', 1)).rejects.toMatchObject({ code: 'too_large' });
    await put('a', 'One gloves.');
    expect(await documents.search('gloves', 1)).toHaveLength(1);
  });

  it('need a folder', async () => {
    await expect(importDocuments(open(), '/does/not/exist')).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });
});
