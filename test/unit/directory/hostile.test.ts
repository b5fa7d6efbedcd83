/**
 * A hostile coordinator with all its keys: it swaps a key, forks the log, shows an old one, hides a revocation. Every honest site refuses
 * each within one interval of checkpoints.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { toHex } from '../../../shared/bytes.ts';
import { HOUR_MS, MINUTE_MS } from '../../../shared/clock.ts';
import { signRecord } from '../../../shared/directory/record.ts';
import {
  encodeRequest,
  parseRequest,
  recoveryFromMs,
  recoveryLeaf,
} from '../../../shared/directory/recovery.ts';
import { QflError } from '../../../shared/errors.ts';
import { SiteId } from '../../../shared/ids.ts';
import { checkAlarm } from '../../../shared/wire/alarm.ts';
import {
  asks,
  createHostileWorld,
  type HonestSite,
  type HostileWorld,
  newVault,
  prekeysBy,
  stateOf,
} from '../../fixtures/hostile.ts';

const east = SiteId.parse('east');
let world: HostileWorld;
const site = (name: string): HonestSite => world.sites.find((one) => one.name === name)!;
const keyOf = (one: HonestSite): string => toHex(one.vault.identity.publicKeys.ed25519);

beforeEach(async () => {
  world = await createHostileWorld(['north', 'south', 'east']);
});

describe('an honest coordinator', () => {
  test('has its directory in use after one interval, and after a restart of a site without asking', async () => {
    for (const one of world.sites) expect(asks(one, east)).toBe('directory_stale');
    await world.interval();
    for (const one of world.sites) expect(asks(one, east)).toBe(keyOf(site('east')));
    await site('north').restart();
    expect(asks(site('north'), east)).toBe(keyOf(site('east')));
    expect(site('north').guard.mirror.confirmed?.size).toBe(world.leaves.length);
  });

  test('needs two of three: one site alone is no quorum, not even for itself', async () => {
    const [north, ...others] = world.sites;
    for (const other of others)
      await other.guard.lockdown.engage({ kind: 'fork', detail: 'away', evidence: null });
    await world.interval();
    expect(asks(north!, east)).toBe('directory_stale');
  });

  test('has a majority of five, and goes on when two are away', async () => {
    world = await createHostileWorld(['north', 'south', 'east', 'west', 'middle']);
    for (const name of ['west', 'middle'])
      await site(name).guard.lockdown.engage({ kind: 'fork', detail: 'away', evidence: null });
    await world.interval();
    expect(asks(site('north'), east)).toBe(keyOf(site('east')));
    await site('south').guard.lockdown.engage({ kind: 'fork', detail: 'away', evidence: null });
    world.clock.moveMs(11 * MINUTE_MS);
    await world.interval();
    expect(asks(site('north'), east)).toBe('directory_stale');
  });

  test('of one site: its own word is all there is; of two: the other has to sign', async () => {
    world = await createHostileWorld(['east']);
    await world.interval();
    expect(asks(site('east'), east)).toBe(keyOf(site('east')));
    world = await createHostileWorld(['north', 'east']);
    await site('east').guard.lockdown.engage({ kind: 'fork', detail: 'away', evidence: null });
    await world.interval();
    expect(asks(site('north'), east)).toBe('directory_stale');
  });
});

describe('a swapped key', () => {
  test('without the chain is used by nobody', async () => {
    await world.interval();
    const evil = await newVault();
    const keys = stateOf(world.leaves).get(east)!;
    const swapped = await evil.identityLeaf(east, Math.trunc(world.clock.nowMs()), keys);
    world.show([...world.leaves, swapped]);
    await world.interval();
    for (const one of world.sites) {
      expect(asks(one, east)).toBe(keyOf(site('east')));
      expect(one.guard.mirror.checkpoint.size).toBe(world.leaves.length);
    }
  });

  test('in the first directory that a site is shown is refused by the site whose name it is, and by the quorum', async () => {
    // East's place is taken by a stranger before anybody has seen the true one.
    const evil = await newVault();
    const leaves = [...world.leaves];
    leaves[3] = await evil.identityLeaf(east, Math.trunc(world.clock.nowMs()), undefined);
    const forged = leaves.slice(0, 6);
    forged.push(await prekeysBy(evil, forged.slice(0, 6), east, world.clock.nowMs()));
    world.show(forged);
    await world.interval();
    expect(asks(site('east'), SiteId.parse('north'))).toBe('lockdown');
    const alarm = checkAlarm(site('east').alarms[0], () => site('east').vault.identity.publicKeys);
    expect(alarm).toMatchObject({ site: 'east', kind: 'own_name' });
    // The other two make two of three: what they lack is the voice of east, and its alarm is what reaches them.
    expect(() =>
      checkAlarm({ ...site('east').alarms[0], ed25519: '' }, () => site('east').vault.identity.publicKeys),
    ).toThrowError(QflError);
  });

  test('signed with a stolen key: the site sees a record it did not make, locks itself, signs no more', async () => {
    await world.interval();
    // The thief holds east's keys; the record is in its chain and signed.
    const stolen = await prekeysBy(site('east').vault, world.leaves, east, world.clock.nowMs());
    world.show([...world.leaves, stolen]);
    await world.interval();
    expect(site('east').guard.lockdown.state).toMatchObject({ kind: 'own_name' });
    expect(site('east').alarms).toHaveLength(1);
    // Its alarm takes its keys out of use at the others, over a restart too, and only its own word brings them back.
    const [alarm] = site('east').alarms;
    await site('north').guard.heed(alarm);
    expect(asks(site('north'), east)).toBe('key_changed');
    await site('north').restart();
    expect(asks(site('north'), east)).toBe('key_changed');
    await site('east').restart();
    expect(asks(site('east'), SiteId.parse('north'))).toBe('lockdown');
    await site('east').guard.lockdown.release('admin');
    await site('north').guard.heed(site('east').alarms.at(-1));
    expect(asks(site('north'), east)).toBe(keyOf(site('east')));
  });

  test('an alarm that the site did not sign is refused', async () => {
    await world.interval();
    await site('south').guard.lockdown.engage({ kind: 'own_name', detail: 'x', evidence: null });
    const { alarm, ...signatures } = site('south').alarms[0]!;
    const forged = { alarm: { ...alarm, site: east }, ...signatures };
    await expect(site('north').guard.heed(forged)).rejects.toMatchObject({ code: 'bad_signature' });
    expect(asks(site('north'), east)).toBe(keyOf(site('east')));
  });
});

describe('a recovery that two sites and the coordinator collude in', () => {
  const thief = async (atMs: number) => {
    const vault = await newVault();
    const keys = stateOf(world.leaves).get(east)!;
    const record = await vault.recoveryRecord(east, { atMs, fromMs: recoveryFromMs(atMs) }, keys);
    const approvals = ['north', 'south'].map((name) => ({
      site: site(name).name,
      signature: signRecord(site(name).vault.identity, record),
    }));
    const { signature } = parseRequest(encodeRequest(vault.signedRecord(record)));
    return { vault, leaf: recoveryLeaf({ record, signature }, approvals) };
  };
  const showsNothing = async (...more: Uint8Array[]): Promise<void> => {
    const { size } = site('north').guard.mirror.checkpoint;
    world.show([...world.leaves, ...more]);
    await world.interval();
    expect(site('north').guard.mirror.checkpoint.size).toBe(size);
    expect(asks(site('north'), east)).toBe(keyOf(site('east')));
  };

  test('dated back a day is refused: its keys would count at once', async () => {
    await world.interval();
    const { leaf } = await thief(Math.trunc(world.clock.nowMs()) - 26 * HOUR_MS);
    await showsNothing(leaf);
  });

  test('and followed by a record from the future does not count before its day is over', async () => {
    await world.interval();
    const nowMs = Math.trunc(world.clock.nowMs());
    const { vault, leaf } = await thief(nowMs);
    world.show([...world.leaves, leaf]);
    await world.interval();
    expect(site('north').guard.mirror.checkpoint.size).toBe(world.leaves.length + 1);
    const next = await prekeysBy(vault, [...world.leaves, leaf], east, recoveryFromMs(nowMs));
    await showsNothing(leaf, next);
    // A day later both are good.
    world.clock.moveMs(26 * HOUR_MS);
    world.show([...world.leaves, leaf, next]);
    await world.interval();
    expect(site('north').guard.mirror.checkpoint.size).toBe(world.leaves.length + 2);
  });
});

describe('an alarm that is shown again', () => {
  const engage = (detail: string): Promise<void> =>
    site('east').guard.lockdown.engage({ kind: 'own_name', detail, evidence: null });
  const guard = (): HonestSite['guard'] => site('north').guard;

  test('counts once: an old end does not end the next one, an old one does not come back', async () => {
    await world.interval();
    const { lockdown } = site('east').guard;
    await engage('first');
    await lockdown.release('admin');
    const [first, firstOver] = site('east').alarms;
    await guard().heed(first);
    await guard().heed(firstOver);
    expect(asks(site('north'), east)).toBe(keyOf(site('east')));
    await expect(guard().heed(first)).rejects.toMatchObject({ code: 'expired' });
    expect(asks(site('north'), east)).toBe(keyOf(site('east')));
    await engage('second');
    await guard().heed(site('east').alarms[2]);
    await site('north').restart();
    for (const old of [first, firstOver])
      await expect(guard().heed(old)).rejects.toMatchObject({ code: 'expired' });
    expect(asks(site('north'), east)).toBe('key_changed');
  });

  test('is told from a new one by a site whose clock went back, and none is taken from far ahead', async () => {
    await world.interval();
    await engage('before the clock went back');
    await guard().heed(site('east').alarms[0]);
    world.clock.moveMs(-10 * MINUTE_MS);
    await site('east').restart();
    await site('east').guard.lockdown.release('admin');
    await guard().heed(site('east').alarms[1]);
    expect(asks(site('north'), east)).toBe(keyOf(site('east')));
    world.clock.moveMs(2 * HOUR_MS);
    await engage('far ahead');
    world.clock.moveMs(-2 * HOUR_MS);
    await expect(guard().heed(site('east').alarms[2])).rejects.toMatchObject({ code: 'expired' });
  });
});

describe('a forked log', () => {
  const forks = async (): Promise<[Uint8Array[], Uint8Array[]]> => {
    const [one, two] = await Promise.all([newVault(), newVault()]);
    const [west, middle] = [SiteId.parse('west'), SiteId.parse('middle')];
    const atMs = Math.trunc(world.clock.nowMs());
    return [
      [...world.leaves, await one.identityLeaf(west, atMs, undefined)],
      [...world.leaves, await two.identityLeaf(middle, atMs, undefined)],
    ];
  };

  test('half and half is used by nobody: neither half is a quorum', async () => {
    world = await createHostileWorld(['north', 'south', 'east', 'west']);
    await world.interval();
    const before = world.leaves.length;
    const extra = await newVault();
    const other = await newVault();
    const atMs = Math.trunc(world.clock.nowMs());
    const left = [...world.leaves, await extra.identityLeaf(SiteId.parse('left'), atMs, undefined)];
    const right = [...world.leaves, await other.identityLeaf(SiteId.parse('right'), atMs, undefined)];
    world.show(left, world.sites.slice(0, 2));
    world.show(right, world.sites.slice(2));
    await world.interval();
    for (const one of world.sites) {
      expect(one.guard.mirror.confirmed?.size).toBe(before);
      expect(asks(one, SiteId.parse('left'))).toBe('unknown_key');
      expect(asks(one, SiteId.parse('right'))).toBe('unknown_key');
    }
    world.clock.moveMs(11 * MINUTE_MS);
    await world.interval();
    for (const one of world.sites) expect(asks(one, east)).toBe('directory_stale');
  });

  test('two against one: the one uses nothing of it, and shown the other history it has the proof and locks itself', async () => {
    await world.interval();
    const [mine, theirs] = await forks();
    world.show(mine, [site('north'), site('south')]);
    world.show(theirs, [site('east')]);
    await world.interval();
    expect(asks(site('east'), SiteId.parse('middle'))).toBe('unknown_key');
    expect(asks(site('north'), SiteId.parse('middle'))).toBe('unknown_key');
    // The coordinator wants its witness back.
    await expect(site('east').guard.confirm(await world.noteOf(mine))).rejects.toMatchObject({
      code: 'key_changed',
    });
    expect(site('east').guard.lockdown.state).toMatchObject({ kind: 'fork' });
    expect(site('east').alarms).toHaveLength(1);
  });
});

describe('a stale view', () => {
  test('is refused once its cosignatures are too old, however freshly the coordinator signs it', async () => {
    await world.interval();
    const old = await world.noteOf(world.leaves);
    world.clock.moveMs(9 * MINUTE_MS);
    for (const one of world.sites) expect(asks(one, east)).toBe(keyOf(site('east')));
    world.clock.moveMs(2 * MINUTE_MS);
    // Its own signature is of now; those of the sites are what it kept.
    const lines = site('north').guard.mirror.confirmed!.note.split('\n\n')[1]!;
    await site('north')
      .guard.confirm((await world.noteOf(world.leaves)) + lines.split('\n').slice(2).join('\n'))
      .catch(() => undefined);
    await site('north')
      .guard.confirm(old)
      .catch(() => undefined);
    for (const one of world.sites) expect(asks(one, east)).toBe('directory_stale');
    await world.interval();
    for (const one of world.sites) expect(asks(one, east)).toBe(keyOf(site('east')));
  });

  test('of a clock far ahead is not believed', async () => {
    world.clock.moveMs(60 * MINUTE_MS);
    const ahead = await createHostileWorld(['north', 'south', 'east']);
    expect(ahead.sites).toHaveLength(3);
    await world.interval();
    const { note } = site('north').guard.mirror.confirmed!;
    world.clock.moveMs(-60 * MINUTE_MS);
    const fresh = site('south');
    await fresh.store.write([{ type: 'del', key: 'directory-confirmed' }]);
    await fresh.restart();
    await fresh.guard.confirm(note);
    expect(asks(fresh, east)).toBe('directory_stale');
  });
});

describe('a hidden revocation', () => {
  test('stops a site that has seen it at once, and one that is kept in the dark when its cosignatures are old', async () => {
    await world.interval();
    const revoked = [...world.leaves, world.revocationOf(stateOf(world.leaves).get(east)!)];
    world.show(revoked, [site('south')]);
    // What takes a key out of use needs no quorum.
    await world.interval();
    expect(asks(site('south'), east)).toBe('revoked');
    // The revoked site signs nothing more: north is alone with the old directory.
    await site('east').guard.lockdown.engage({ kind: 'fork', detail: 'gone', evidence: null });
    world.clock.moveMs(11 * MINUTE_MS);
    await world.interval();
    expect(asks(site('north'), east)).toBe('directory_stale');
  });

  test('among three is hidden from one only with the revoked site’s help: the limit of so few witnesses', async () => {
    await world.interval();
    const revoked = [...world.leaves, world.revocationOf(stateOf(world.leaves).get(east)!)];
    world.show(revoked, [site('south')]);
    world.clock.moveMs(11 * MINUTE_MS);
    await world.interval();
    // North and the thief are two of three. It is written down in quorum.ts; from four sites on it takes two thieves.
    expect(asks(site('north'), east)).toBe(keyOf(site('east')));
    expect(asks(site('south'), east)).toBe('directory_stale');
  });

  test('among five: nobody who is kept in the dark goes on asking the revoked site', async () => {
    world = await createHostileWorld(['north', 'south', 'east', 'west', 'middle']);
    await world.interval();
    const revoked = [...world.leaves, world.revocationOf(stateOf(world.leaves).get(east)!)];
    const told = [site('south'), site('west'), site('middle')];
    world.show(revoked, told);
    await world.interval();
    for (const one of told) expect(asks(one, east)).toBe('revoked');
    world.clock.moveMs(11 * MINUTE_MS);
    await world.interval();
    for (const one of told) expect(asks(one, east)).toBe('revoked');
    expect(asks(site('north'), east)).toBe('directory_stale');
    // Told at last, it follows.
    world.show(revoked);
    await world.interval();
    expect(asks(site('north'), east)).toBe('revoked');
  });
});
