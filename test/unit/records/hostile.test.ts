/** Input as it comes from a broken disk or a hostile hand: each fault is reported, nothing crashes, the rest arrives. */
import { rmSync } from 'node:fs';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { importFolder } from '../../../agent/records/import-fhir.ts';
import { IMPORT_LIMITS } from '../../../agent/records/limits.ts';
import { condition, count, memoryRecords, ndjson, patient, temporaryFolder } from '../../fixtures/fhir.ts';

const SECRET = 'Rumpelstilzchen';
const GOOD = [ndjson(patient('first')), ndjson(patient('last'))] as const;
const text = (value: unknown): string => JSON.stringify(value);
const nested = (depth: number): string =>
  `{"resourceType":"Patient","id":"x","a":${'['.repeat(depth)}${']'.repeat(depth)}}`;

const BAD_LINES: readonly (readonly [string, string | Uint8Array, string])[] = [
  ['not JSON', `{"resourceType":"Patient","name":"${SECRET}`, 'not valid JSON'],
  ['a number', '17', 'resourceType: missing or not a FHIR type name'],
  ['null', 'null', 'resourceType: missing or not a FHIR type name'],
  ['an array', '[]', 'resourceType: missing or not a FHIR type name'],
  ['no type', text({ id: 'x' }), 'resourceType: missing or not a FHIR type name'],
  [
    'a type that is a number',
    text({ resourceType: 4, id: 'x' }),
    'resourceType: missing or not a FHIR type name',
  ],
  [
    'a type with a path',
    text({ resourceType: '../Patient', id: 'x' }),
    'resourceType: missing or not a FHIR type name',
  ],
  ['a patient without id', text({ resourceType: 'Patient' }), 'id: invalid_type'],
  ['an id with a slash', text(patient(`${SECRET}/../x`)), 'id: invalid_format'],
  ['an id too long', text(patient('x'.repeat(65))), 'id: invalid_format'],
  ['a gender that is none', text(patient('x', { gender: SECRET })), 'gender: invalid_value'],
  ['a birth date that is none', text(patient('x', { birthDate: SECRET })), 'birthDate: invalid_format'],
  [
    'a condition of nobody',
    text({ resourceType: 'Condition', id: 'x' }),
    'subject: no reference to a patient',
  ],
  [
    'a code that is a number',
    text(condition('x', 'first', 'y', { code: { coding: [{ code: 5 }] } })),
    'code: invalid_union',
  ],
  [
    'a subject that is a string',
    text(condition('x', 'first', 'y', { subject: SECRET })),
    'subject: invalid_type',
  ],
  [
    'a URN outside a bundle',
    text(condition('x', 'y', 'z', { subject: { reference: 'urn:uuid:1' } })),
    'subject: a urn reference that nothing in this file carries',
  ],
  ['nesting beyond the limit', nested(64), 'nested too deeply'],
  ['a nesting bomb', nested(200_000), 'nested too deeply'],
  [
    'invalid UTF-8',
    Buffer.concat([
      Buffer.from('{"resourceType":"Patient","id":"'),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}'),
    ]),
    'not valid UTF-8',
  ],
  ['a NUL', '{"resourceType":"Patient","id":"a\u0000b"}', 'a NUL byte'],
  [
    'a bundle that is a history',
    text({ resourceType: 'Bundle', type: 'history' }),
    'type: not a bundle of resources to import',
  ],
];

const bytesOf = (...parts: readonly (string | Uint8Array)[]): Buffer =>
  Buffer.concat(parts.map((part) => Buffer.from(part)));

describe('hostile lines', () => {
  it.each(BAD_LINES)('reports %s by line, without its content, and goes on', async (_, line, reason) => {
    await using folder = await temporaryFolder({ 'x.ndjson': bytesOf(GOOD[0], line, '\n', GOOD[1]) });
    const records = memoryRecords();
    const result = await importFolder(records, folder.path);
    expect(result.problems).toEqual([{ file: 'x.ndjson', line: 2, severity: 'skipped', reason }]);
    expect(JSON.stringify(result)).not.toContain(SECRET);
    expect(await count(records, 'Patient')).toBe(2n);
  });

  it('passes over a giant line without holding it', async () => {
    const limits = { ...IMPORT_LIMITS, lineBytesMax: 1000 };
    const giant = `${text(patient('x', { note: 'y'.repeat(5_000_000) }))}\n`;
    await using folder = await temporaryFolder({
      'x.ndjson': `${GOOD[0]}${giant}\n\r\n  \n${GOOD[1].trim()}`,
    });
    const records = memoryRecords();
    const result = await importFolder(records, folder.path, { limits });
    expect(result.problems).toEqual([
      { file: 'x.ndjson', line: 2, severity: 'skipped', reason: 'the line is longer than the limit' },
    ]);
    expect(await count(records, 'Patient')).toBe(2n);
  });

  it('keeps a bounded list of problems and counts them all', async () => {
    const limits = { ...IMPORT_LIMITS, problemsKeptMax: 5 };
    await using folder = await temporaryFolder({ 'x.ndjson': 'x\n'.repeat(1000) });
    const result = await importFolder(memoryRecords(), folder.path, { limits });
    expect(result.problems.map(({ line }) => line)).toEqual([1, 2, 3, 4, 5]);
    expect(result.rejected).toBe(1000);
  });

  it('does not touch the prototype of anything', async () => {
    const polluting =
      '{"resourceType":"Patient","id":"x","__proto__":{"polluted":1},"link":[{"other":{"reference":"Patient/__proto__"}}]}';
    const bundle = `{"resourceType":"Bundle","type":"collection","entry":[{"resource":${polluting}}]}`;
    await using folder = await temporaryFolder({ 'x.ndjson': `${polluting}\n${bundle}\n` });
    await importFolder(memoryRecords(), folder.path);
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
  });
});

describe('hostile bundles', () => {
  it.each([
    ['no resource', { request: { method: 'POST', url: 'Patient' } }, 'resource: missing'],
    [
      'a method it does not perform',
      { request: { method: 'PATCH', url: 'Patient/x' } },
      'request.method: not one this import performs',
    ],
    [
      'a conditional deletion',
      { request: { method: 'DELETE', url: 'Patient?name=x' } },
      'request.url: a deletion names one resource as Type/id',
    ],
    ['an entry that is a string', 'x', 'the entry is not a FHIR bundle entry'],
    ['a resource without id', { resource: { resourceType: 'Patient' } }, 'id: invalid_type'],
  ])('reports an entry with %s by its position', async (_, bad, reason) => {
    const entry = [{ resource: patient('first') }, bad, { resource: patient('last') }];
    await using folder = await temporaryFolder({
      'b.json': text({ resourceType: 'Bundle', type: 'transaction', entry }),
    });
    const records = memoryRecords();
    const result = await importFolder(records, folder.path);
    expect(result.problems).toEqual([{ file: 'b.json', entry: 2, severity: 'skipped', reason }]);
    expect(await count(records, 'Patient')).toBe(2n);
  });

  it('reports a document that is no JSON, and one above the limit', async () => {
    const limits = { ...IMPORT_LIMITS, documentBytesMax: 1000 };
    await using folder = await temporaryFolder({
      'a.json': '{ "resourceType": "Bundle",\n "entry": [',
      'b.json': text({ resourceType: 'Bundle', type: 'collection', filler: 'x'.repeat(2000) }),
    });
    const result = await importFolder(memoryRecords(), folder.path, { limits });
    expect(result.problems.map(({ file, reason }) => [file, reason])).toEqual([
      ['a.json', 'not valid JSON'],
      ['b.json', 'the document is larger than the limit; read up to here: 0'],
    ]);
  });
});

describe('hostile files', () => {
  const many = ndjson(...Array.from({ length: 2000 }, (_, index) => patient(`p${index}`)));

  it('keeps the lines before the end of a gzip file that was cut', async () => {
    const packed = gzipSync(many);
    await using folder = await temporaryFolder({
      'x.ndjson.gz': packed.subarray(0, Math.floor(packed.length / 2)),
    });
    const records = memoryRecords();
    const result = await importFolder(records, folder.path);
    expect(result.problems[0]?.reason).toMatch(/^the gzip data ends too early; read up to here: \d+$/);
    const kept = await count(records, 'Patient');
    expect(kept).toBe(BigInt(result.counts['Patient'] ?? 0));
    expect(kept).toBeGreaterThan(100n);
  });

  it('reports damaged gzip data', async () => {
    const packed = Buffer.from(gzipSync(many));
    packed.fill(0xaa, 100, 140);
    await using folder = await temporaryFolder({ 'x.ndjson.gz': packed, 'y.ndjson': GOOD[0] });
    const records = memoryRecords();
    const result = await importFolder(records, folder.path);
    expect(result.problems.some(({ reason }) => reason.startsWith('the gzip data is damaged'))).toBe(true);
    expect(await records.get('Patient', 'first')).toBeDefined();
  });

  it('stops a gzip bomb at the ratio, and any file at its size', async () => {
    const limits = { ...IMPORT_LIMITS, gzipRatioFromBytes: 100_000, fileBytesMax: 50_000_000 };
    await using folder = await temporaryFolder({
      'bomb.ndjson.gz': gzipSync(Buffer.concat([Buffer.from(GOOD[0]), Buffer.alloc(20_000_000, 0x20)])),
      'ok.ndjson.gz': gzipSync(GOOD[1]),
    });
    const records = memoryRecords();
    const result = await importFolder(records, folder.path, { limits });
    expect(result.problems).toEqual([
      {
        file: 'bomb.ndjson.gz',
        severity: 'skipped',
        reason: 'the gzip data expands beyond the limit; read up to here: 1',
      },
    ]);
    expect(await count(records, 'Patient')).toBe(2n);
    const small = await importFolder(memoryRecords(), folder.path, {
      limits: { ...IMPORT_LIMITS, fileBytesMax: 1000 },
    });
    expect(small.problems[0]?.reason).toMatch(/^the file is larger than the limit/);
  });

  it('follows no symbolic link, neither a loop nor one that leads outside', async () => {
    await using outside = await temporaryFolder({ 'Patient.ndjson': ndjson(patient('outside')) });
    await using folder = await temporaryFolder({ 'sub/Patient.ndjson': ndjson(patient('inside')) });
    await symlink(folder.path, join(folder.path, 'sub', 'loop'));
    await symlink(outside.path, join(folder.path, 'escape'));
    await symlink(join(outside.path, 'Patient.ndjson'), join(folder.path, 'Patient.ndjson'));
    const records = memoryRecords();
    const result = await importFolder(records, folder.path);
    expect(result.problems.map(({ file }) => file)).toEqual(['Patient.ndjson', 'escape', 'sub/loop']);
    expect(await records.countResources()).toEqual({ Patient: 1 });
  });

  it('goes on when a file or folder disappears or cannot be read while it works', async () => {
    await using folder = await temporaryFolder({ 'a.ndjson': GOOD[0], 'b.ndjson': GOOD[1] });
    const records = memoryRecords();
    const vanish = ({ file }: { file: string }): void => {
      if (file === 'a.ndjson') rmSync(join(folder.path, 'b.ndjson'), { force: true });
    };
    const result = await importFolder(records, folder.path, { onProgress: vanish });
    expect(result.problems).toEqual([
      { file: 'b.ndjson', severity: 'skipped', reason: 'the file could not be read (ENOENT)' },
    ]);
    expect(await count(records, 'Patient')).toBe(1n);
  });

  it('bounds the number of files and the depth of folders', async () => {
    await using folder = await temporaryFolder({
      'a/b/c/Patient.ndjson': GOOD[0],
      'x.ndjson': '',
      'y.ndjson': '',
    });
    const shallow = await importFolder(memoryRecords(), folder.path, {
      limits: { ...IMPORT_LIMITS, folderDepthMax: 2 },
    });
    expect(shallow.problems).toMatchObject([{ file: 'a/b/c/', severity: 'noticed' }]);
    const few = importFolder(memoryRecords(), folder.path, { limits: { ...IMPORT_LIMITS, filesMax: 2 } });
    await expect(few).rejects.toMatchObject({ code: 'too_large' });
  });
});
