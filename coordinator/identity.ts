/** The coordinator as sites see it: its signed keys, its logs, and how to check both. */
import { parseVerifierKey } from '../shared/audit/verifier-key.ts';
import { toBase64 } from '../shared/bytes.ts';
import { type Identity } from '../shared/crypto/signature.ts';
import { type FederationInfo, federationMessage, FEDERATION_LABEL } from '../shared/wire/federation-info.ts';
import { federationPolicy } from '../shared/directory/quorum.ts';
import { COORDINATOR_NAME } from '../shared/directory/record.ts';
import type { CoordinatorHome } from './home.ts';
import type { KeyLog } from './directory/key-log.ts';

export const federationInfo = async (
  name: string,
  identity: Identity,
  keyLog: KeyLog,
  auditVerifierKeys: readonly string[],
): Promise<FederationInfo> => {
  const leaf = await keyLog.identityLeaf(COORDINATOR_NAME);
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

/** Who has to have signed a checkpoint of either log, by the roster of now: the C2SP tlog-policy file that goes with every export. */
export const policyOf = ({ name, keyLog, audit }: CoordinatorHome): string =>
  federationPolicy(
    name,
    [...keyLog.log.verifierKeys, ...audit.log.verifierKeys].map(parseVerifierKey),
    keyLog.state,
  );
