/** A program's keys and the sites' as people look at them: `qfl keys …`. Nothing secret. */
import { z } from 'zod';
import { SiteId } from '../ids.ts';

const Phrase = z.string().regex(/^([0-9a-z]{4}-){3}[0-9a-z]{4}$/);

/** New keys that wait out a day, unless the old ones speak before. */
export const RecoveringShown = z.strictObject({ phrase: Phrase, fromMs: z.number() });

export const OwnKeysShown = z.strictObject({
  program: z.enum(['agent', 'coordinator']),
  name: z.string(),
  /** Hash of the identity, hex; the phrase is its first 80 bits. */
  fingerprint: z.string(),
  phrase: Phrase,
  /** How the directory has it. */
  standing: z.enum(['in_force', 'not_in_directory', 'waiting', 'revoked', 'foreign']),
  identitySinceMs: z.number().nullable(),
  pastIdentities: z.array(z.strictObject({ phrase: Phrase, fromMs: z.number(), endMs: z.number() })),
  /** X-Wing epochs that the directory announces, newest first. */
  epochs: z.array(
    z.strictObject({
      epoch: z.int(),
      fromMs: z.number(),
      toMs: z.number(),
      /** Is its secret half here? */
      held: z.boolean(),
    }),
  ),
  /** When the next epoch begins by itself. */
  nextEpochMs: z.number().nullable(),
  prekeys: z.array(
    z.strictObject({ id: z.string(), fromMs: z.number(), toMs: z.number(), held: z.boolean() }),
  ),
  recovering: RecoveringShown.nullable(),
});
export type OwnKeysShown = z.infer<typeof OwnKeysShown>;

/** Has somebody here compared the fingerprint with that hospital by telephone? Null where nobody could: at the coordinator, and for oneself. */
export const Comparison = z.enum(['compared', 'not_compared']).nullable();
export type Comparison = z.infer<typeof Comparison>;
export const comparisonText = (comparison: Comparison | undefined): string =>
  comparison === 'compared' ? 'compared by voice' : comparison === 'not_compared' ? 'not compared' : '–';

/** Beside each answer, plan and price: by site. */
export const Comparisons = z.record(z.string(), Comparison);
export type Comparisons = z.infer<typeof Comparisons>;
/** One line for people; nothing when no other site is in it. */
export const comparisonsText = (comparisons: Comparisons | undefined): string[] => {
  const others = Object.entries(comparisons ?? {}).filter(([, comparison]) => comparison !== null);
  return others.length === 0
    ? []
    : [`Fingerprints: ${others.map(([site, one]) => `${site} ${comparisonText(one)}`).join(', ')}.`];
};

export const SiteKeysShown = z.strictObject({
  site: SiteId,
  phrase: Phrase,
  identitySinceMs: z.number(),
  epoch: z.int().nullable(),
  epochToMs: z.number().nullable(),
  prekeyToMs: z.number().nullable(),
  /** False while only the coordinator has shown it. */
  confirmed: z.boolean(),
  revoked: z.boolean(),
  suspended: z.string().nullable(),
  recovering: RecoveringShown.nullable(),
  comparison: Comparison,
  comparedMs: z.number().nullable(),
});
export type SiteKeysShown = z.infer<typeof SiteKeysShown>;
export const SiteKeysPage = z.strictObject({ sites: z.array(SiteKeysShown) });

export const RotateRequest = z.strictObject({ what: z.enum(['kem', 'identity', 'emergency']) });
export const CompareRequest = z.strictObject({ phrase: z.string().max(100) });
/** `file`: where on this machine the new key is, base64; made here when null, which needs the key to be in the home folder. */
export const MasterRequest = z.strictObject({ file: z.string().max(4_096).nullable() });
export const MasterRotated = z.strictObject({ source: z.enum(['file', 'environment', 'credential']) });

export const RecoveryState = z.strictObject({
  site: SiteId,
  /** Of the new identity. */
  phrase: Phrase,
  approvedBy: z.array(SiteId),
  /** It takes so many. */
  needed: z.int(),
  /** In the directory; the day of waiting runs. */
  published: z.boolean(),
  fromMs: z.number(),
});
export type RecoveryState = z.infer<typeof RecoveryState>;
export const ApproveRequest = z.strictObject({
  request: z.string().max(65_535),
  phrase: z.string().max(100),
});

/** What somebody typed or heard, for comparing: case, spaces and missing dashes do not matter. */
export const normalPhrase = (text: string): string =>
  text
    .toLowerCase()
    .replaceAll(/[^0-9a-z]/g, '')
    .replaceAll(/(.{4})(?=.)/g, '$1-');
