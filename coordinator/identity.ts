/** The coordinator as sites see it: its signed keys, its logs, and how to check both. */
import { toBase64 } from '../shared/bytes.ts';
import { type Identity } from '../shared/crypto/signature.ts';
import { type FederationInfo, federationMessage, FEDERATION_LABEL } from '../shared/wire/federation-info.ts';
import type { KeyLog } from './directory/key-log.ts';

export const federationInfo = async (
  name: string,
  identity: Identity,
  keyLog: KeyLog,
  auditVerifierKeys: readonly string[],
): Promise<FederationInfo> => {
  let leaf: Uint8Array = new Uint8Array(0);
  // The coordinator's own identity is the first record of the directory.
  for await (const entry of keyLog.log.entries(0, 1)) ({ leaf } = entry);
  const unsigned = {
    v: 1 as const,
    name,
    logOrigin: keyLog.log.origin,
    keysVerifierKeys: [...keyLog.log.verifierKeys],
    auditVerifierKeys: [...auditVerifierKeys],
    leaf: toBase64(leaf),
  };
  return { ...unsigned, signature: toBase64(identity.sign(FEDERATION_LABEL, federationMessage(unsigned))) };
};
