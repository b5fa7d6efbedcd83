/** Who signed a checkpoint, and whether that is enough for a policy. */
import { type Checkpoint, parseCheckpointText } from '../checkpoint-text.ts';
import { parseNote, signatureHolds, signedBy } from '../note.ts';
import { baseOrigin, keysOfOrigin } from '../origin.ts';
import { namesMet, type Policy, quorumMet } from '../policy.ts';
import type { VerifierKey } from '../verifier-key.ts';

export interface SignedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Verifier keys, as text, whose signature is there and holds. */
  readonly holds: ReadonlySet<string>;
  /** Keys whose signature is there and does not hold. */
  readonly broken: ReadonlySet<string>;
}

const keysOf = (policy: Policy, origin: string): readonly VerifierKey[] => [
  ...policy.logs,
  ...keysOfOrigin(policy.logs, origin),
  ...policy.witnesses.values(),
];

/** Checks the signatures of every key that a policy names, a log's also under the name that the log has after a restore. @throws QflError `protocol` when it is no checkpoint */
export const readSigned = (note: Uint8Array, policies: readonly Policy[]): SignedCheckpoint => {
  const { text, signatures } = parseNote(note);
  const checkpoint = parseCheckpointText(text);
  const [holds, broken] = [new Set<string>(), new Set<string>()];
  const known = new Map(
    policies.flatMap((policy) => keysOf(policy, checkpoint.origin)).map((key) => [key.text, key]),
  );
  for (const key of known.values())
    for (const line of signatures)
      if (signedBy(key, line)) (signatureHolds(key, text, line.signature) ? holds : broken).add(key.text);
  return { checkpoint, holds, broken };
};

/** A hospital's own log: its name stands behind that of the federation's log, also after a restore. */
const ownerOf = (origin: string): string | undefined =>
  /^qfl\/[^/]+\/audit\/([^/]+)$/.exec(baseOrigin(origin))?.[1];

/** Names of the policy's groups, such as sites, that cosigned, but for the owner of the log. */
export const cosigners = (policy: Policy, { checkpoint, holds }: SignedCheckpoint): readonly string[] => {
  const met = namesMet(policy, holds);
  const owner = ownerOf(checkpoint.origin);
  return [...policy.groups.keys()].filter(
    (name) => met.has(name) && name !== owner && name !== policy.quorum,
  );
};

/**
 * Undefined when the policy is met, else why it is not: every key that it lists for this log has to have signed, and its quorum has to have
 * cosigned. A hospital's own log is cosigned by a few others only: one of them is enough.
 */
export const policyFault = (policy: Policy, signed: SignedCheckpoint): string | undefined => {
  const { origin } = signed.checkpoint;
  const own = keysOfOrigin(policy.logs, origin);
  if (own.length === 0) return `the policy names no key of the log ${origin}`;
  if (!own.every(({ text }) => signed.holds.has(text)))
    return 'is not signed with each key that the policy names for it';
  const owner = ownerOf(origin);
  if (owner === undefined || !policy.groups.has(owner))
    return quorumMet(policy, signed.holds)
      ? undefined
      : `is cosigned by ${cosigners(policy, signed).join(', ') || 'nobody'}, which is not the quorum of the policy`;
  const others = [...policy.groups.keys()].filter((name) => name !== owner && name !== policy.quorum);
  return others.length === 0 || cosigners(policy, signed).length > 0
    ? undefined
    : 'is cosigned by no other hospital';
};
