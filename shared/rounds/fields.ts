/** Fields that the messages of sealed rounds share, and the labels under which their hashes and signatures are made. */
import { z } from 'zod';
import { QflError } from '../errors.ts';

export const ROUND_SITES_MAX = 1_000;
/** BLAKE2b-256, hex. */
export const Hash = z.string().regex(/^[0-9a-f]{64}$/, 'a hash is 64 hexadecimal characters');
export type Hash = z.infer<typeof Hash>;
/** Ed25519, base64. */
export const SignatureText = z.base64().length(88);

/** Ed25519 and ML-DSA-65, base64. */
export const HybridText = z.strictObject({ ed25519: SignatureText, mldsa65: z.base64().max(5_000) });

export const LABELS = {
  offer: 'qfl epoch offer',
  pairing: 'qfl epoch pairing',
  plan: 'qfl round plan',
  shares: 'qfl round shares',
  vector: 'qfl round vector',
  alive: 'qfl round alive',
  reveal: 'qfl round reveal',
  receipt: 'qfl round receipt',
} as const;

/** What the other side said, as it should be. @throws QflError `protocol` */
export const parseMessage = <Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> => {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new QflError('protocol', { detail: 'a message of a sealed round is malformed' });
  return parsed.data;
};
