/** What a coordinator tells anybody who asks: enough to verify it against the fingerprint in a join token. */
import { z } from 'zod';
import { equalConstantTime, fromBase64, utf8 } from '../bytes.ts';
import { type IdentityPublic, verifySignature } from '../crypto/signature.ts';
import { broughtBySelf } from '../directory/chain.ts';
import { COORDINATOR_NAME, fingerprintOf, parseLeaf } from '../directory/record.ts';
import { QflError } from '../errors.ts';

export const FEDERATION_LABEL = 'qfl federation info v1';

const VerifierKeys = z.array(z.string().max(2_400)).length(2);

export const FederationInfo = z.strictObject({
  v: z.literal(1),
  name: z.string().max(100),
  logOrigin: z.string().max(200),
  /** What signs the directory's checkpoints: Ed25519 and ML-DSA-44. */
  keysVerifierKeys: VerifierKeys,
  /** What signs those of the audit log. */
  auditVerifierKeys: VerifierKeys,
  /** The coordinator's identity leaf, base64. */
  leaf: z.base64(),
  signature: z.base64(),
});
export type FederationInfo = z.infer<typeof FederationInfo>;

export const federationMessage = (info: Omit<FederationInfo, 'signature'>): Uint8Array =>
  utf8(
    JSON.stringify([
      info.v,
      info.name,
      info.logOrigin,
      info.keysVerifierKeys,
      info.auditVerifierKeys,
      info.leaf,
    ]),
  );

export interface VerifiedFederation {
  readonly info: FederationInfo;
  readonly identity: IdentityPublic;
  /** X-Wing key of its current epoch. */
  readonly kemKey: Uint8Array;
}

/**
 * Is this the coordinator whose fingerprint we hold?
 * @throws QflError `key_changed`, `bad_signature`, `protocol`
 */
export const verifyFederation = (info: FederationInfo, fingerprint: Uint8Array): VerifiedFederation => {
  const leaf = fromBase64(info.leaf);
  if (parseLeaf(leaf).record.site !== COORDINATOR_NAME)
    throw new QflError('protocol', { detail: 'the coordinator shows no identity' });
  const { identity, kem } = broughtBySelf(leaf);
  if (!equalConstantTime(fingerprintOf(identity), fingerprint)) {
    throw new QflError('key_changed', {
      detail: 'this is not the coordinator that the token names',
      next: 'Check the address; if it is right, call the operator: somebody may stand between.',
    });
  }
  if (!verifySignature(identity, FEDERATION_LABEL, federationMessage(info), fromBase64(info.signature))) {
    throw new QflError('bad_signature', { detail: "the coordinator's description is not signed by it" });
  }
  return { info, identity, kemKey: kem.key };
};
