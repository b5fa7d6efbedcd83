import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fileAnchor } from '../../../shared/audit/anchor.ts';
import { createAuditLog } from '../../../shared/audit/audit-log.ts';
import { openCheckpoint } from '../../../shared/audit/checkpoint.ts';
import { AppendLog, type LogOptions } from '../../../shared/audit/log.ts';
import { CompactRange, leafHash } from '../../../shared/audit/merkle.ts';
import { verifyConsistency, verifyInclusion } from '../../../shared/audit/merkle-verify.ts';
import { ed25519NoteSigner, parseVerifierKey } from '../../../shared/audit/note.ts';
import { fromUtf8, toHex, utf8 } from '../../../shared/bytes.ts';
import { systemClock } from '../../../shared/clock.ts';
import { canonicalBytes } from '../../../shared/audit/canonical.ts';
import { AuditEntry, AUDIT_ACTIONS, encodeEntry, ulid } from '../../../shared/audit/entry.ts';
import { Pseudonym } from '../../../shared/ids.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { openLevelStore } from '../../../shared/store/level.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';

const signer = ed25519NoteSigner('example.org/log', Buffer.alloc(32, 1));
const keys = [parseVerifierKey(signer.verifierKey)];
const options = (store: Store, rest: Partial<LogOptions> = {}): LogOptions => ({
  store,
  prefix: 'audit/',
  signer,
  create: true,
  ...rest,
});
const leafOf = (index: number): Uint8Array => utf8(`leaf ${index}`);
const fill = (log: AppendLog, count: number) =>
  Promise.all(Array.from({ length: count }, () => log.append((index) => ({ leaf: leafOf(index) }))));
const rootOf = (size: number): Uint8Array => {
  const range = new CompactRange();
  for (let index = 0; index < size; index += 1) range.append(leafHash(leafOf(index)));
  return range.root();
};

describe('an append log', () => {
  it('gives every entry its index, its proof, and the root of all entries, over reopening', async () => {
    const store = createMemoryStore();
    const sizes = [0, 1, 255, 256, 257, 700, 1300];
    for (const [at, size] of sizes.entries()) {
      const log = await AppendLog.open(options(store, { create: at === 0 }));
      const appended = await fill(log, size - log.size);
      expect(
        appended.every(({ index, leafHash: hash }) => toHex(hash) === toHex(leafHash(leafOf(index)))),
      ).toBe(true);
      expect(log.size).toBe(size);
      const { checkpoint } = openCheckpoint(await log.checkpoint(), keys);
      expect(checkpoint.size).toBe(size);
      expect(toHex(checkpoint.root)).toBe(toHex(rootOf(size)));
      await log.close();
    }
  });

  it('proves inclusion and consistency from its tiles', async () => {
    const log = await AppendLog.open(options(createMemoryStore(), { queueEntriesMax: 66_000 }));
    await fill(log, 66_000);
    const root = await log.rootAt(66_000);
    for (const index of [0, 1, 255, 256, 4095, 65_535, 65_536, 65_999]) {
      const claim = { index, size: 66_000, leafHash: leafHash(leafOf(index)), root };
      expect(verifyInclusion({ ...claim, path: await log.inclusionProof(index) })).toBe(true);
    }
    for (const oldSize of [1, 2, 255, 256, 257, 65_536, 65_537, 66_000]) {
      const claim = { oldSize, newSize: 66_000, oldRoot: await log.rootAt(oldSize), newRoot: root };
      expect(verifyConsistency({ ...claim, path: await log.consistencyProof(oldSize) })).toBe(true);
    }
    await log.verify();
    await expect(log.inclusionProof(66_000)).rejects.toMatchObject({ code: 'not_found' });
    await expect(log.consistencyProof(0)).rejects.toMatchObject({ code: 'not_found' });
    await log.close();
  });

  it('reads a range in order, and what was stored beside an entry until it is destroyed', async () => {
    const log = await AppendLog.open(options(createMemoryStore()));
    await fill(log, 20);
    await log.append({ leaf: utf8('x'), beside: [{ name: 'd/x', value: utf8('beside') }] });
    const read: string[] = [];
    for await (const { leaf } of log.entries(18)) read.push(fromUtf8(leaf));
    expect(read).toEqual(['leaf 18', 'leaf 19', 'x']);
    expect(fromUtf8((await log.readBeside('d/x'))!)).toBe('beside');
    await log.forgetBeside('d/x');
    expect(await log.readBeside('d/x')).toBeUndefined();
    await log.verify();
    await log.close();
  });

  it('groups what arrives together into few durable writes', async () => {
    const inner = createMemoryStore();
    let writes = 0;
    const store: Store = {
      ...inner,
      write: async (operations, how) => {
        expect(how?.durable ?? true).toBe(true);
        if (operations.some(({ key }) => key.includes('/e/'))) writes += 1;
        await inner.write(operations);
      },
    };
    const log = await AppendLog.open(options(store));
    await fill(log, 1024);
    expect(writes).toBe(2);
    await log.close();
  });

  it('is bounded: over the queue limit it refuses, and what it took is kept without a gap', async () => {
    const log = await AppendLog.open(options(createMemoryStore(), { queueEntriesMax: 10 }));
    const results = await Promise.allSettled(
      Array.from({ length: 15 }, () => log.append({ leaf: utf8('x') })),
    );
    const refused = results.filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(5);
    expect(refused[0]).toMatchObject({ reason: { code: 'overloaded' } });
    expect(log.size).toBe(10);
    await expect(log.append({ leaf: Buffer.alloc(256 * 1024 + 1) })).rejects.toMatchObject({
      code: 'too_large',
    });
    expect((await log.append({ leaf: utf8('y') })).index).toBe(10);
    await log.close();
    await expect(log.append({ leaf: utf8('z') })).rejects.toMatchObject({ code: 'not_ready' });
  });

  it('is not created by a plain start', async () => {
    const open = AppendLog.open(options(createMemoryStore(), { create: false }));
    await expect(open).rejects.toMatchObject({ code: 'not_ready' });
  });

  it('lives in LevelDB beside another log, with its anchor in a file', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'qfl-log-'));
    try {
      const store = await openLevelStore(path.join(folder, 'store'));
      const anchor = fileAnchor(path.join(folder, 'checkpoint'));
      const [audit, directory] = await Promise.all([
        AppendLog.open(options(store, { anchor })),
        AppendLog.open(
          options(store, {
            prefix: 'keys/',
            signer: ed25519NoteSigner('example.org/keys', Buffer.alloc(32, 2)),
          }),
        ),
      ]);
      await Promise.all([fill(audit, 300), fill(directory, 30)]);
      await audit.close();
      await directory.close();
      await store.close();
      const again = await openLevelStore(path.join(folder, 'store'));
      const reopened = await AppendLog.open(options(again, { anchor, create: false }));
      expect(reopened.size).toBe(300);
      await reopened.close();
      await again.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

const openAudit = async (store: Store) =>
  createAuditLog({
    log: await AppendLog.open(options(store)),
    source: 'coordinator',
    clock: systemClock,
    random: secureRandomBytes,
  });

describe('the audit log', () => {
  it('records events with gap-free counters over restarts, detail beside and erasable', async () => {
    const store = createMemoryStore();
    const first = await openAudit(store);
    const actor = Pseudonym.parse('a'.repeat(32));
    await first.record({ action: 'program.start', outcome: 'ok' });
    await first.record({
      action: 'chat.asked',
      outcome: 'begun',
      actor,
      role: 'doctor',
      objects: [{ kind: 'query', id: 'q1' }],
      cost: 2 ** 40,
      detail: utf8('free text'),
    });
    await first.log.close();
    const second = await openAudit(store);
    await second.record({ action: 'program.start', outcome: 'ok' });
    const entries = [];
    for await (const entry of second.entries()) entries.push(entry);
    expect(entries.map(({ counter }) => counter)).toEqual([0, 1, 2]);
    expect(new Set(entries.map(({ bootId }) => bootId)).size).toBe(2);
    expect(entries[1]).toMatchObject({ action: 'chat.asked', cost: 2 ** 40, actor });
    expect(JSON.stringify(entries)).not.toContain('free text');
    expect(fromUtf8((await second.detail(1))!)).toBe('free text');
    await second.eraseDetail(1);
    expect(await second.detail(1)).toBeUndefined();
    expect(await second.detail(0)).toBeUndefined();
    await second.log.verify();
  });

  it('refuses an event that does not fit an entry, and leaves no gap for it', async () => {
    const audit = await openAudit(createMemoryStore());
    const bad = { action: 'chat.asked', outcome: 'ok', purpose: 'two words' } as const;
    await expect(audit.record(bad)).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(audit.record({ ...bad, purpose: undefined, cost: 0.5 })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect((await audit.record({ action: 'chat.asked', outcome: 'ok' })).index).toBe(0);
  });
});

describe('an entry', () => {
  const text = (pattern: RegExp) => fc.stringMatching(pattern);
  const code = text(/^[a-zA-Z0-9][a-zA-Z0-9._:/-]{0,20}$/);
  const hex = (bytes: number) => text(new RegExp(`^[0-9a-f]{${bytes * 2}}$`));
  const entries = fc.record({
    v: fc.constant(1 as const),
    id: fc.nat(2 ** 31).map((timeMs) => ulid(timeMs, secureRandomBytes)),
    timeMs: fc.maxSafeNat(),
    counter: fc.maxSafeNat(),
    bootId: hex(16),
    source: code,
    actor: fc.option(hex(16).map((one) => Pseudonym.parse(one))),
    role: fc.option(code),
    action: fc.constantFrom(...AUDIT_ACTIONS),
    outcome: fc.constantFrom('begun', 'ok', 'refused', 'failed', 'unknown'),
    objects: fc.array(fc.record({ kind: code, id: code }), { maxLength: 64 }),
    purpose: fc.option(code),
    classification: fc.option(fc.constantFrom('public', 'internal', 'confidential', 'restricted')),
    session: fc.option(hex(32)),
    requestId: fc.option(code),
    cost: fc.option(fc.maxSafeNat()),
    detail: fc.option(hex(32)),
  });

  it('is written as the schema and the canonical form have it, byte for byte', () => {
    fc.assert(
      fc.property(entries, (entry) => {
        const parsed = AuditEntry.parse(entry);
        expect(fromUtf8(encodeEntry(parsed))).toBe(fromUtf8(canonicalBytes(parsed)));
      }),
    );
  });

  it('with anything in it that the schema refuses is refused', () => {
    fc.assert(
      fc.property(
        entries,
        fc.constantFrom(...AuditEntry.keyof().exclude(['objects']).options),
        fc.anything(),
        (entry, field, value) => {
          const changed = { ...entry, [field]: value };
          const parsed = AuditEntry.safeParse(changed);
          if (parsed.success) return;
          expect(() => Reflect.apply(encodeEntry, undefined, [changed])).toThrow();
        },
      ),
      // Null stands in many members, and must not pass in the others.
      { numRuns: 1_000 },
    );
  });

  it('has an id that sorts by its time', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 40), fc.nat(2 ** 40), (one, two) => {
        const [first, second] = [ulid(one, secureRandomBytes), ulid(two, secureRandomBytes)];
        expect(first.slice(0, 10) < second.slice(0, 10)).toBe(one < two);
        expect(first).toMatch(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
      }),
    );
  });
});
