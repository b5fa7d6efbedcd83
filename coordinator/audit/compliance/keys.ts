/** The key directory in words: one line for each record. The record itself is in the `keys` log of the export. */
import { leafHash } from '../../../shared/audit/merkle.ts';
import { toHex } from '../../../shared/bytes.ts';
import { bringsIdentity, fingerprintOf, identityOf, parseLeaf } from '../../../shared/directory/record.ts';

export interface NewKeyFacts {
  readonly index: number;
  /** RFC 6962 leaf hash, hex. */
  readonly leaf: string;
  readonly site: string;
  readonly kind: string;
  readonly sequence: number;
  readonly time: string;
  /** SHA-256 that people compare, hex; of records that bring an identity. */
  readonly fingerprint: string | null;
  readonly epoch: number | null;
  readonly validFrom: string | null;
  readonly validTo: string | null;
  readonly reason: string | null;
}

const iso = (ms: number): string => new Date(ms).toISOString();

export const keyFactsOf = (leaf: Uint8Array, index: number): NewKeyFacts => {
  const { record } = parseLeaf(leaf);
  const kem = bringsIdentity(record) ? record.kem : undefined;
  return {
    index,
    leaf: toHex(leafHash(leaf)),
    site: record.site,
    kind: record.kind,
    sequence: record.sequence,
    time: iso(record.atMs),
    fingerprint: bringsIdentity(record) ? toHex(fingerprintOf(identityOf(record))) : null,
    epoch: kem?.epoch ?? null,
    validFrom: kem === undefined ? null : iso(kem.fromMs),
    validTo: kem === undefined ? null : iso(kem.toMs),
    reason: record.kind === 'revoke' ? record.reason : null,
  };
};
