/** Time-based one-time codes (RFC 6238: 30 s, six digits, SHA-1, as every authenticator app has them) and recovery codes for a lost telephone. */
import { hash } from 'node:crypto';
import { generateSecret, generateURI, verify } from 'otplib';
import { equalConstantTime, utf8 } from '../../shared/bytes.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import type { RandomBytes } from '../../shared/random.ts';
import type { StoredAccount } from './accounts.ts';

export type Totp = NonNullable<StoredAccount['totp']>;

const PERIOD_S = 30;
/** A code is taken one period early or late: clocks of telephones are not ours. */
const TOLERANCE_S = 30;
const RECOVERY_CODES = 10;
const RECOVERY_BYTES = 10;
const ALPHABET = 'abcdefghjkmnpqrstvwxyz23456789';

const hashOf = (code: string): string => hash('sha256', utf8(code), 'hex');

export const newTotp = (): Totp => ({
  secret: generateSecret(),
  confirmed: false,
  lastStep: 0,
  recovery: [],
});

/** `otpauth://` address for an authenticator app. */
export const totpUri = (secret: string, federation: string, username: string): string =>
  generateURI({ issuer: `qfl ${federation}`, label: username, secret, period: PERIOD_S });

const recoveryCode = (random: RandomBytes): string => {
  const letters = Array.from(random(2 * RECOVERY_BYTES), (byte) => byte % 32)
    .filter((value) => value < ALPHABET.length)
    .slice(0, RECOVERY_BYTES)
    .map((value) => ALPHABET[value]!)
    .join('');
  // Rejection keeps the letters uniform; too few of them are drawn again.
  return letters.length === RECOVERY_BYTES
    ? `${letters.slice(0, 5)}-${letters.slice(5)}`
    : recoveryCode(random);
};

/** Ten codes to write down, and their hashes to keep. */
export const newRecoveryCodes = (
  random: RandomBytes,
): { readonly codes: readonly string[]; readonly hashes: readonly string[] } => {
  const codes = Array.from({ length: RECOVERY_CODES }, () => recoveryCode(random));
  return { codes, hashes: codes.map(hashOf) };
};

/**
 * The state after a right code; undefined when it is wrong. A code of the app works once (RFC 6238, section 5.2), a recovery code too.
 */
export const useCode = async (totp: Totp, code: string, nowMs: number): Promise<Totp | undefined> => {
  const text = code.replaceAll(/\s/g, '').toLowerCase();
  if (/^\d{6}$/.test(text)) {
    const result = await verify({
      secret: totp.secret,
      token: text,
      period: PERIOD_S,
      epoch: Math.floor(nowMs / SECOND_MS),
      epochTolerance: TOLERANCE_S,
      afterTimeStep: totp.lastStep,
    });
    return result.valid && 'timeStep' in result ? { ...totp, lastStep: result.timeStep } : undefined;
  }
  const given = utf8(hashOf(text));
  const at = totp.recovery.findIndex((kept) => equalConstantTime(utf8(kept), given));
  return at === -1 || !totp.confirmed ? undefined : { ...totp, recovery: totp.recovery.toSpliced(at, 1) };
};
