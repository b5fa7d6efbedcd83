/**
 * Who must have cosigned the directory before a key of it is used (design: security, section 5). Every site in force that has ever been there
 * is a witness; of two or three, all but one must sign, of more, a majority.
 *
 * What holds with few sites. One: its own cosignature is all there is; it notices a directory that forgets or forks over time, but nobody
 * can tell it what others are shown. Two: the other one must have signed, for one's own word says nothing about what the other sees.
 * From three on, two histories cannot both have a quorum unless a witness signs both: with three sites it takes one such witness, so a thief
 * of a site's keys and the coordinator together can keep one other site in the dark; with four or five it takes two.
 */
import { openNote, parseNote, signatureHolds, signedBy } from '../audit/note.ts';
import { cosignatureTimeS } from '../audit/cosignature.ts';
import { type Checkpoint, parseCheckpointText } from '../audit/checkpoint-text.ts';
import { baseOrigin } from '../audit/origin.ts';
import { policyText } from '../audit/policy.ts';
import {
  KEY_TYPE_COSIGNATURE,
  KEY_TYPE_ED25519,
  KEY_TYPE_MLDSA44,
  renamed,
  type VerifierKey,
  verifierKeyOf,
} from '../audit/verifier-key.ts';
import { QflError } from '../errors.ts';
import { SiteId } from '../ids.ts';
import type { DirectoryState, NoteKeysPublic, SiteKeys } from './chain.ts';
import { COORDINATOR_NAME } from './record.ts';
import { breathe } from '../breathe.ts';

export const witnessName = (federation: string, site: string): string => `qfl/${federation}/witness/${site}`;
export const siteOfWitness = (federation: string, name: string): SiteId | undefined => {
  const start = witnessName(federation, '');
  const site = SiteId.safeParse(name.slice(start.length));
  return name.startsWith(start) ? site.data : undefined;
};
export const siteLogOrigin = (federation: string, site: string): string => `qfl/${federation}/audit/${site}`;

/** A site's cosigner keys, both of which must sign. */
export const witnessKeysOf = (federation: string, { site, witness }: SiteKeys): readonly VerifierKey[] => {
  const name = witnessName(federation, site);
  return [
    verifierKeyOf(name, KEY_TYPE_COSIGNATURE, witness.ed25519),
    verifierKeyOf(name, KEY_TYPE_MLDSA44, witness.mldsa44),
  ];
};

/** The keys that sign a log: Ed25519 over the note, and ML-DSA-44 as its own cosigner. */
export const logKeysOf = (origin: string, keys: NoteKeysPublic): readonly VerifierKey[] => [
  verifierKeyOf(origin, KEY_TYPE_ED25519, keys.ed25519),
  verifierKeyOf(origin, KEY_TYPE_MLDSA44, keys.mldsa44),
];

export const witnessesOf = (state: DirectoryState): readonly SiteKeys[] =>
  [...state.values()].filter(
    ({ site, active, revokedMs }) => site !== COORDINATOR_NAME && active && revokedMs === undefined,
  );

/** How many of `sites` witnesses must have signed. */
export const quorumOf = (sites: number): number => {
  if (sites <= 1) return sites;
  return sites <= 3 ? sites - 1 : Math.floor(sites / 2) + 1;
};

/** Keys of the hospitals' own audit logs. */
const siteLogsOf = (federation: string, state: DirectoryState): readonly VerifierKey[] =>
  [...state.values()]
    .filter(({ site, revokedMs }) => site !== COORDINATOR_NAME && revokedMs === undefined)
    .flatMap(({ site, log }) => logKeysOf(siteLogOrigin(federation, site), log));

/**
 * The C2SP policy file for a roster: what an auditor checks a checkpoint against. `logs`: the keys of the federation's own logs. Every log stands there
 * under the name of before any restore, which covers those that follow it: the reader of the policy cannot know how often each was restored.
 */
export const federationPolicy = (
  federation: string,
  logs: readonly VerifierKey[],
  state: DirectoryState,
): string => {
  const witnesses = witnessesOf(state);
  return policyText(
    `federation ${federation}: ${witnesses.length} witnesses, of which ${quorumOf(witnesses.length)} must have signed`,
    [...logs.map((key) => renamed(key, baseOrigin(key.name))), ...siteLogsOf(federation, state)],
    witnesses.map((keys) => ({ name: keys.site, keys: witnessKeysOf(federation, keys) })),
    quorumOf(witnesses.length),
  );
};

export interface OpenedCosigned {
  readonly checkpoint: Checkpoint;
  readonly text: string;
  /** Sites all of whose keys signed, with the earlier of the seconds they state. */
  readonly cosigned: ReadonlyMap<SiteId, number>;
}

/**
 * Opens a checkpoint with cosignatures. The log's own keys must both have signed; of the witnesses a signature that does not hold counts
 * as none, because whoever passes the note on could add such a line.
 * @throws QflError `protocol`, `bad_signature`, `unknown_key`
 */
export const openCosigned = async (
  note: string,
  logKeys: readonly VerifierKey[],
  federation: string,
  witnesses: Iterable<SiteKeys>,
): Promise<OpenedCosigned> => {
  const opened = openNote(note, logKeys);
  if (opened.signedBy.length < logKeys.length)
    throw new QflError('bad_signature', { detail: 'the log has not signed with each of its keys' });
  const checkpoint = parseCheckpointText(opened.text);
  if (checkpoint.origin !== logKeys[0]?.name)
    throw new QflError('key_changed', { detail: 'the checkpoint is of another log' });
  const { signatures } = parseNote(note);
  const cosigned = new Map<SiteId, number>();
  for (const keys of witnesses) {
    const times: number[] = [];
    for (const key of witnessKeysOf(federation, keys)) {
      const line = signatures.find((one) => signedBy(key, one));
      if (line === undefined) break;
      if (!signatureHolds(key, opened.text, line.signature)) break;
      times.push(cosignatureTimeS(line.signature));
      // A verification of ML-DSA-44 takes milliseconds.
      await breathe();
    }
    if (times.length === 2) cosigned.set(keys.site, Math.min(...times));
  }
  return { checkpoint, text: opened.text, cosigned };
};

/**
 * Since when these witnesses stand behind a checkpoint: the time of the oldest signature among the `needed` newest, in seconds; undefined when
 * there are fewer. `self` cannot vouch alone where there are others.
 */
export const quorumSinceS = (
  roster: readonly SiteKeys[],
  needed: number,
  cosigned: ReadonlyMap<SiteId, number>,
  self: SiteId,
): number | undefined => {
  const timesOf = (sites: readonly SiteKeys[]): number[] =>
    sites.flatMap(({ site }) => cosigned.get(site) ?? []).toSorted((left, right) => right - left);
  const others = roster.filter(({ site }) => site !== self);
  const sinceS = timesOf(roster)[needed - 1];
  const [newestOther] = timesOf(others);
  if (sinceS === undefined || others.length === 0) return sinceS;
  return newestOther === undefined ? undefined : Math.min(sinceS, newestOther);
};

/**
 * The quorum by which a directory may grow from one state to the next: of the witnesses before and of those after. Of the ones before,
 * those that were revoked meanwhile cannot be asked any more; whoever is left must then all agree.
 */
export const growthSinceS = (
  before: DirectoryState,
  after: DirectoryState,
  cosigned: ReadonlyMap<SiteId, number>,
  self: SiteId,
): number | undefined => {
  const roster = witnessesOf(after);
  const now = quorumSinceS(roster, quorumOf(roster.length), cosigned, self);
  const old = witnessesOf(before);
  if (now === undefined || old.length === 0) return now;
  const left = old.filter(({ site }) => after.get(site)?.revokedMs === undefined);
  const needed = Math.min(quorumOf(old.length), left.length);
  if (needed === 0) return now;
  const then = quorumSinceS(left, needed, cosigned, self);
  return then === undefined ? undefined : Math.min(now, then);
};
