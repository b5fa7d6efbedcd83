/** Whose signatures count in this federation, as this hospital knows it from the directory that it checked itself: for auditors, who must not ask the exporter. */
import { parseVerifierKey } from '../../shared/audit/verifier-key.ts';
import type { DirectoryState } from '../../shared/directory/chain.ts';
import { federationPolicy } from '../../shared/directory/quorum.ts';
import type { FederationInfo } from '../../shared/wire/federation-info.ts';

/** A C2SP tlog-policy file. */
export const policyOf = (
  { name, keysVerifierKeys, auditVerifierKeys }: FederationInfo,
  state: DirectoryState,
): string => federationPolicy(name, [...keysVerifierKeys, ...auditVerifierKeys].map(parseVerifierKey), state);
