/** Holds, erasure by destroyed keys, the end of retention: what goes is gone, what must stay stays, and both are in the log. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { type AuditLog, createAuditLog } from '../../../shared/audit/audit-log.ts';
import type { AuditEntry } from '../../../shared/audit/entry.ts';
import { AppendLog } from '../../../shared/audit/log.ts';
import { ed25519NoteSigner } from '../../../shared/audit/note.ts';
import { restoredOrigin } from '../../../shared/audit/origin.ts';
import { createPersonalDetails } from '../../../shared/audit/personal.ts';
import { AUDIT_PREFIX, openPersonalDetails, retentionOf } from '../../../shared/audit/program-log.ts';
import { createRetention, type RetentionRules } from '../../../shared/audit/retention.ts';
import { searchAudit } from '../../../shared/audit/search.ts';
import { restoredPrefix } from '../../../shared/backup/restored.ts';
import { fromUtf8, utf8 } from '../../../shared/bytes.ts';
import { DAY_MS } from '../../../shared/clock.ts';
import { createDeferred } from '../../../shared/deferred.ts';
import { QflError } from '../../../shared/errors.ts';
import { secureRandomBytes as random } from '../../../shared/random.ts';
import { openLevelStore } from '../../../shared/store/level.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { createTestClock } from '../../fixtures/link.ts';

const PREFIX = 'l/';
const RULES: RetentionRules = { auditDays: 3_650, dataDays: 2_555, duty: false };
const open = async (
  store: Store = createMemoryStore(),
  rules = RULES,
  clock = createTestClock(),
  stepEntries = 1_024,
) => {
  const log = await AppendLog.open({
    store,
    prefix: PREFIX,
    signer: ed25519NoteSigner('example.org/log', Buffer.alloc(32, 1)),
    create: true,
  });
  const personal = createPersonalDetails({ store, prefix: PREFIX, blindingKey: Buffer.alloc(32, 2), random });
  const audit = createAuditLog({ log, source: 'coordinator', clock, random, personal });
  const retention = createRetention({
    store,
    prefix: PREFIX,
    audit,
    personal,
    clock,
    random,
    rules,
    stepEntries,
  });
  return { store, log, personal, audit, retention, clock };
};
const about = (audit: AuditLog, person: string, text: string) =>
  audit.record({ action: 'access.refused', outcome: 'refused', person, detail: utf8(text) });
const detailOf = async (audit: AuditLog, index: number): Promise<string | undefined> => {
  const detail = await audit.detail(index);
  return detail === undefined ? undefined : fromUtf8(detail);
};
const last = async (audit: AuditLog): Promise<AuditEntry> => {
  const { entries } = await searchAudit(audit, {}, { limit: 1, oldestFirst: false });
  return entries[0]!;
};
const idsOf = ({ objects }: AuditEntry): string[] => objects.map(({ kind, id }) => `${kind}=${id}`);

describe('an erasure', () => {
  test('takes one person’s detail, keeps the others’, and the tree verifies', async () => {
    const { audit, retention, log } = await open();
    await about(audit, 'ana', 'Ana asked about room 12');
    await about(audit, 'ben', 'Ben did not');
    await about(audit, 'ana', 'Ana again');
    expect(await detailOf(audit, 0)).toBe('Ana asked about room 12');
    const root = Buffer.from(await log.rootAt(3)).toString('hex');
    expect(await retention.erase('ana', 'admin')).toEqual({ entries: 2, index: 3 });
    expect([await detailOf(audit, 0), await detailOf(audit, 1), await detailOf(audit, 2)]).toEqual([
      undefined,
      'Ben did not',
      undefined,
    ]);
    expect((await last(audit)).action).toBe('audit.erased');
    expect(Buffer.from(await log.rootAt(3)).toString('hex')).toBe(root);
    await log.verify();
    await expect(retention.erase('ana', 'admin')).rejects.toMatchObject({ code: 'not_found' });
    // Whoever is erased may come again: under a new key.
    await about(audit, 'ana', 'Ana came back');
    expect(await detailOf(audit, 4)).toBe('Ana came back');
  });

  test('leaves nothing in the files of the disk: not the text, not the key', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'qfl-erase-'));
    try {
      const store = await openLevelStore(folder);
      const { audit, retention, personal } = await open(store);
      await about(audit, 'ana', 'Ana asked about room 12');
      const subject = personal.subjectOf('ana');
      const key = Buffer.from((await store.get(`${PREFIX}k/${subject}`))!);
      const sealed = Buffer.from((await store.get(`${PREFIX}p/0000000000000000`))!).subarray(40);
      const inFiles = async (bytes: Buffer): Promise<boolean> => {
        const files = await readdir(folder);
        const contents = await Promise.all(files.map((file) => readFile(path.join(folder, file))));
        return contents.some((content) => content.includes(bytes));
      };
      expect(await inFiles(key)).toBe(true);
      await retention.erase('ana', 'admin');
      expect([await inFiles(key), await inFiles(sealed)]).toEqual([false, false]);
      await store.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('that a crash cuts short is ended at the next start; from its first write on nothing opens', async () => {
    const memory = createMemoryStore();
    let writes = Infinity;
    const store: Store = {
      ...memory,
      write(operations, options) {
        writes -= 1;
        return writes < 0
          ? Promise.reject(new QflError('storage_failed'))
          : memory.write(operations, options);
      },
    };
    const { audit, personal } = await open(store);
    for (const text of ['one', 'two', 'three']) await about(audit, 'ana', text);
    writes = 1;
    await expect(personal.erase(personal.subjectOf('ana'))).rejects.toMatchObject({ code: 'storage_failed' });
    writes = Infinity;
    expect(await detailOf(audit, 0)).toBeUndefined();
    const again = await open(memory);
    expect(await again.personal.resume()).toBe(1);
    const left: string[] = [];
    for (const kind of ['k', 'p', 'x', 'y'])
      for await (const key of memory.keys({ prefix: `${PREFIX}${kind}/` })) left.push(key);
    expect(left).toEqual([]);
  });
});

describe('an erasure beside what is written about the same person', () => {
  /** A store whose next read, or write, of that kind of key waits. */
  const holding = () => {
    const memory = createMemoryStore();
    let held: { readonly of: 'get' | 'write'; readonly key: string } | undefined;
    const [reached, release] = [createDeferred<void>(), createDeferred<void>()];
    const wait = async (of: 'get' | 'write', key: string): Promise<void> => {
      if (held?.of !== of || !key.startsWith(PREFIX + held.key)) return;
      held = undefined;
      reached.resolve();
      await release.promise;
    };
    const store: Store = {
      ...memory,
      async get(key) {
        const value = await memory.get(key);
        await wait('get', key);
        return value;
      },
      async write(operations, options) {
        for (const { key } of operations) await wait('write', key);
        return memory.write(operations, options);
      },
    };
    return {
      store,
      hold: (of: 'get' | 'write', key: string) => void (held = { of, key }),
      reached: reached.promise,
      release: () => release.resolve(),
    };
  };
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

  test('waits for a key that is being read: it does not live on in memory', async () => {
    const { store, hold, reached, release } = holding();
    await about((await open(store)).audit, 'ana', 'first');
    // As after a restart: the key is not in memory yet.
    const { audit, personal } = await open(store);
    hold('get', 'k/');
    const second = about(audit, 'ana', 'second');
    await reached;
    const erased = personal.erase(personal.subjectOf('ana'));
    await settle();
    release();
    await Promise.all([second, erased]);
    await about(audit, 'ana', 'third');
    expect([await detailOf(audit, 1), await detailOf(audit, 2)]).toEqual([undefined, 'third']);
    const again = await open(store);
    expect(await detailOf(again.audit, 2)).toBe('third');
  });

  test('takes what is being written with it, and what comes later has the next key', async () => {
    const { store, hold, reached, release } = holding();
    const { audit, personal } = await open(store);
    await about(audit, 'ana', 'first');
    hold('write', 'e/');
    const second = about(audit, 'ana', 'second');
    await reached;
    const erased = personal.erase(personal.subjectOf('ana'));
    const third = about(audit, 'ana', 'third');
    await settle();
    release();
    await Promise.all([second, erased, third]);
    const shown = [0, 1, 2].map((index) => detailOf(audit, index));
    expect(await Promise.all(shown)).toEqual([undefined, undefined, 'third']);
  });
});

describe('a refusal', () => {
  test('while a hold stands, names it and is in the log; a hold on somebody else does not count', async () => {
    const { audit, retention } = await open();
    await about(audit, 'ana', 'x');
    await about(audit, 'ben', 'y');
    const hold = await retention.hold({ ground: 'case 7/2026', person: 'ana' }, 'admin');
    await expect(retention.erase('ana', 'admin')).rejects.toMatchObject({
      code: 'retention',
      facts: { ground: 'legal_hold', holds: [hold.id] },
    });
    const entry = await last(audit);
    expect([entry.action, ...idsOf(entry)]).toEqual([
      'erasure.refused',
      'ground=legal_hold',
      `hold=${hold.id}`,
    ]);
    expect(await detailOf(audit, 0)).toBe('x');
    expect((await retention.erase('ben', 'admin')).entries).toBe(1);
    await retention.release(hold.id, 'admin');
    expect((await retention.erase('ana', 'admin')).entries).toBe(1);
    expect(await retention.holds()).toEqual([]);
    await expect(retention.release('../h', 'admin')).rejects.toMatchObject({ code: 'not_found' });
  });

  test('while the duty to keep stands; it ends with the years', async () => {
    const { audit, retention, clock } = await open(undefined, { ...RULES, duty: true });
    await about(audit, 'ana', 'x');
    await expect(retention.erase('ana', 'admin')).rejects.toMatchObject({
      code: 'retention',
      facts: { ground: 'retention_duty' },
    });
    expect(idsOf(await last(audit))).toEqual(['ground=retention_duty']);
    clock.moveMs(2_556 * DAY_MS);
    expect((await retention.erase('ana', 'admin')).entries).toBe(1);
  });
});

describe('the end of retention', () => {
  test('takes detail after 2,555 days and whole bundles of entries after 3,650, and not what is held', async () => {
    const { audit, retention, log, clock, store } = await open();
    for (let at = 0; at < 300; at += 1) await about(audit, `person ${at % 5}`, `text ${at}`);
    clock.moveMs(2_600 * DAY_MS);
    await about(audit, 'young', 'stays');
    const hold = await retention.hold({ ground: 'case 8', fromIndex: 290 }, 'admin');
    const dry = await retention.prune('admin', true);
    expect(dry).toEqual({ minimumIndex: 0, entriesPruned: 0, detailBelow: 290, heldBy: [hold.id] });
    expect(await detailOf(audit, 0)).toBe('text 0');
    await retention.prune('admin', false);
    expect([await detailOf(audit, 0), await detailOf(audit, 289)]).toEqual([undefined, undefined]);
    expect([await detailOf(audit, 290), await detailOf(audit, 300)]).toEqual(['text 290', 'stays']);
    expect((await last(audit)).action).toBe('audit.pruned');

    clock.moveMs(1_100 * DAY_MS);
    await retention.release(hold.id, 'admin');
    expect(await retention.prune('admin', false)).toMatchObject({ minimumIndex: 256, entriesPruned: 256 });
    const { entries, minimumIndex, size } = await searchAudit(audit, {}, { limit: 1_000, oldestFirst: true });
    expect([entries[0]?.counter, minimumIndex, entries.length]).toEqual([256, 256, size - 256]);
    await log.verify();
    expect((await log.inclusionProof(3)).length).toBeGreaterThan(0);
    expect(await store.get(`${PREFIX}e/0000000000000000`)).toBeUndefined();
  });

  test('stops at the first young entry: clocks that jumped later take nothing more', async () => {
    const { audit, retention, clock } = await open();
    clock.moveMs(4_000 * DAY_MS);
    await about(audit, 'ana', 'from the future');
    clock.moveMs(-4_000 * DAY_MS);
    for (let at = 0; at < 600; at += 1) await audit.record({ action: 'program.start', outcome: 'ok' });
    clock.moveMs(3_700 * DAY_MS);
    expect((await retention.prune('admin', false)).entriesPruned).toBe(0);
  });
});

describe('at once', () => {
  test('a hold and an erasure: the one that came first counts', async () => {
    const { audit, retention } = await open();
    await about(audit, 'ana', 'x');
    const [hold, erased] = await Promise.allSettled([
      retention.hold({ ground: 'case 13', person: 'ana' }, 'admin'),
      retention.erase('ana', 'admin'),
    ]);
    expect([hold.status, erased]).toMatchObject(['fulfilled', { reason: { code: 'retention' } }]);
    expect(await detailOf(audit, 0)).toBe('x');
  });

  test('a hold that is released twice is released once', async () => {
    const { retention } = await open();
    const { id } = await retention.hold({ ground: 'case 14' }, 'admin');
    const both = [retention.release(id, 'admin'), retention.release(id, 'admin')];
    const [first, second] = await Promise.allSettled(both);
    expect([first?.status, second]).toMatchObject(['fulfilled', { reason: { code: 'not_found' } }]);
  });

  test('a hold that is placed while retention ends keeps what is not gone yet', async () => {
    const { audit, retention, log, clock } = await open(undefined, RULES, createTestClock(), 256);
    for (let at = 0; at < 2_000; at += 1) await about(audit, 'ana', `text ${at}`);
    clock.moveMs(4_000 * DAY_MS);
    const pruned = retention.prune('admin', false);
    while (log.minimumIndex < 256) await new Promise((resolve) => setImmediate(resolve));
    const hold = await retention.hold({ ground: 'case 15', fromIndex: 1_500 }, 'admin');
    const report = await pruned;
    expect(report).toEqual({
      minimumIndex: 1_280,
      entriesPruned: 1_280,
      detailBelow: 1_500,
      heldBy: [hold.id],
    });
    expect([await detailOf(audit, 1_499), await detailOf(audit, 1_500)]).toEqual([undefined, 'text 1500']);
  });

  test('and in the files: what was deleted is swept, by the next one when a crash comes between', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'qfl-prune-'));
    try {
      const level = await openLevelStore(folder);
      let broken = true;
      const store: Store = {
        get: (key) => level.get(key),
        list: (options) => level.list(options),
        keys: (options) => level.keys(options),
        write: (operations, options) => level.write(operations, options),
        compact: (prefix) =>
          broken ? Promise.reject(new QflError('storage_failed')) : level.compact(prefix),
        close: () => level.close(),
      };
      const { audit, retention, clock } = await open(store);
      await audit.record({ action: 'program.start', outcome: 'ok', detail: utf8('the text of nobody') });
      clock.moveMs(4_000 * DAY_MS);
      const inFiles = async (): Promise<boolean> => {
        const files = await readdir(folder);
        const contents = await Promise.all(files.map((file) => readFile(path.join(folder, file))));
        return contents.some((content) => content.includes('the text of nobody'));
      };
      await expect(retention.prune('admin', false)).rejects.toMatchObject({ code: 'storage_failed' });
      expect(await inFiles()).toBe(true);
      broken = false;
      await retention.prune('admin', false);
      expect(await inFiles()).toBe(false);
      await store.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('after a restore', () => {
  /** The program as it opens a home that was restored so often. */
  const openEpoch = async (store: Store, epoch: number, clock = createTestClock(), rules = RULES) => {
    const vault = { secretFor: () => Buffer.alloc(32, 2) };
    const before = epoch === 0 ? null : { origin: 'example.org/log', size: 0, root: '' };
    const restored = { epoch, before, restoredMs: 0, backupMs: 0 };
    const log = await AppendLog.open({
      store,
      prefix: restoredPrefix(AUDIT_PREFIX, epoch),
      signer: ed25519NoteSigner(restoredOrigin('example.org/log', epoch), Buffer.alloc(32, 1)),
      create: true,
    });
    const personal = await openPersonalDetails(store, vault, random, restored);
    const audit = createAuditLog({ log, source: 'coordinator', clock, random, personal });
    const retention = retentionOf({ store, vault, audit, personal, restored }, clock, random, rules);
    return { audit, retention };
  };
  const left = async (store: Store, prefix: string): Promise<number> => {
    let count = 0;
    for await (const _ of store.keys({ prefix })) count += 1;
    return count;
  };

  test('detail of before is erased, and said so; a person with none is not found', async () => {
    const store = createMemoryStore();
    await about((await openEpoch(store, 0)).audit, 'ana', 'before');
    const { audit, retention } = await openEpoch(store, 2);
    expect(await left(store, `${AUDIT_PREFIX}p/`)).toBe(1);
    expect(await retention.erase('ana', 'admin')).toEqual({ entries: 1, index: 0 });
    expect(await left(store, `${AUDIT_PREFIX}p/`)).toBe(0);
    await about(audit, 'ben', 'after');
    await expect(retention.erase('ana', 'admin')).rejects.toMatchObject({ code: 'not_found' });
  });

  test('a hold of before goes on, over detail of before and of after, until it is released', async () => {
    const store = createMemoryStore();
    const first = await openEpoch(store, 0);
    await about(first.audit, 'ana', 'before');
    const hold = await first.retention.hold({ ground: 'case 9', person: 'ana', fromIndex: 1 }, 'admin');
    const { audit, retention } = await openEpoch(store, 1);
    expect(await retention.holds()).toEqual([hold]);
    // What lies before the entry that it begins at is not held.
    expect((await retention.erase('ana', 'admin')).entries).toBe(1);
    await about(audit, 'ana', 'after');
    await expect(retention.erase('ana', 'admin')).rejects.toMatchObject({ facts: { holds: [hold.id] } });
    await retention.release(hold.id, 'admin');
    expect(await retention.holds()).toEqual([]);
    expect((await retention.erase('ana', 'admin')).entries).toBe(1);
  });

  test('a hold of now on everything holds what lies before, too; one from an entry on does not', async () => {
    const store = createMemoryStore();
    await about((await openEpoch(store, 0)).audit, 'ana', 'before');
    const { audit, retention } = await openEpoch(store, 1);
    await about(audit, 'ben', 'after');
    const hold = await retention.hold({ ground: 'case 10' }, 'admin');
    await expect(retention.erase('ana', 'admin')).rejects.toMatchObject({ facts: { holds: [hold.id] } });
    await retention.release(hold.id, 'admin');
    await retention.hold({ ground: 'case 11', fromIndex: 2 }, 'admin');
    expect((await retention.erase('ana', 'admin')).entries).toBe(1);
  });

  test('the duty to keep counts for detail of before', async () => {
    const [store, clock] = [createMemoryStore(), createTestClock()];
    await about((await openEpoch(store, 0, clock)).audit, 'ana', 'before');
    const { retention } = await openEpoch(store, 1, clock, { ...RULES, duty: true });
    await expect(retention.erase('ana', 'admin')).rejects.toMatchObject({ code: 'retention' });
    clock.moveMs(2_556 * DAY_MS);
    expect((await retention.erase('ana', 'admin')).entries).toBe(1);
  });

  test('retention ends for the log of before, but for what is held', async () => {
    const [store, clock] = [createMemoryStore(), createTestClock()];
    const first = await openEpoch(store, 0, clock);
    for (let at = 0; at < 600; at += 1) await about(first.audit, 'ana', `text ${at}`);
    await first.audit.record({ action: 'program.start', outcome: 'ok', detail: utf8('of nobody') });
    const hold = await first.retention.hold({ ground: 'case 12', fromIndex: 300 }, 'admin');
    clock.moveMs(4_000 * DAY_MS);
    const { audit, retention } = await openEpoch(store, 1, clock);
    await about(audit, 'ben', 'young');
    expect(await retention.prune('admin', true)).toEqual({
      minimumIndex: 0,
      entriesPruned: 256,
      detailBelow: 0,
      heldBy: [hold.id],
    });
    await retention.prune('admin', false);
    expect(await left(store, `${AUDIT_PREFIX}e/`)).toBe(602 - 256);
    expect(await left(store, `${AUDIT_PREFIX}p/`)).toBe(300);
    expect(idsOf(await last(audit))[0]).toBe('log=example.org/log');
    await retention.release(hold.id, 'admin');
    expect((await retention.prune('admin', false)).entriesPruned).toBe(256);
    expect([await left(store, `${AUDIT_PREFIX}p/`), await left(store, `${AUDIT_PREFIX}d/`)]).toEqual([0, 0]);
    expect(await detailOf(audit, 0)).toBe('young');
  });
});

describe('a page of the log', () => {
  test('is what the filter asks for, in order, and goes on where it ended', async () => {
    const { audit } = await open();
    for (let at = 0; at < 700; at += 1)
      await audit.record({
        action: at % 7 === 0 ? 'stats.served' : 'chat.served',
        outcome: 'ok',
        objects: [{ kind: 'site', id: at % 2 === 0 ? 'north' : 'south' }],
      });
    const all: number[] = [];
    for (let from: number | undefined, done = false; !done;) {
      const page = await searchAudit(
        audit,
        { action: 'stats.served', object: 'north' },
        { from, limit: 7, oldestFirst: false },
      );
      all.push(...page.entries.map(({ counter }) => counter));
      from = page.next ?? undefined;
      done = page.next === null;
    }
    const expected = Array.from({ length: 50 }, (_, at) => at * 14);
    expect(all).toEqual(expected.toReversed());
    const oldest = await searchAudit(
      audit,
      { action: 'stats.served' },
      { from: 8, limit: 2, oldestFirst: true },
    );
    expect(oldest.entries.map(({ counter }) => counter)).toEqual([14, 21]);
    expect((await searchAudit(audit, {}, { from: 10_000, limit: 5, oldestFirst: true })).entries).toEqual([]);
  });
});
