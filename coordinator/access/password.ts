/** Passwords: what is accepted as one, and the only form in which one is kept (Argon2id, RFC 9106; OWASP's 19 MiB and two passes). */
import { hash, verify } from '@node-rs/argon2';
import { dictionary } from '@zxcvbn-ts/language-common';
import { QflError } from '../../shared/errors.ts';

export interface PasswordPolicy {
  readonly lengthMin: number;
  readonly needsUppercase: boolean;
  readonly needsLowercase: boolean;
  readonly needsDigit: boolean;
  readonly needsSpecial: boolean;
}

/** Whatever a configuration says. */
export const PASSWORD_LENGTH_FLOOR = 8;
/** Argon2 takes any length; a request body should not decide how long it works. */
export const PASSWORD_LENGTH_MAX = 256;
const ARGON2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
/** Each takes 19 MiB: more at once than this wait. */
const HASHES_AT_ONCE = 4;

const COMMON: ReadonlySet<string> = new Set(dictionary['passwords-common']);

/** A well-known password with digits or signs at its ends is still one. */
const isCommon = (password: string): boolean => {
  const lower = password.toLowerCase();
  return COMMON.has(lower) || COMMON.has(lower.replaceAll(/^[^a-z]+|[^a-z]+$/g, ''));
};

/** What is wrong with a password, in words; empty when nothing is. */
export const passwordFaults = (
  password: string,
  policy: PasswordPolicy,
  username: string,
): readonly string[] => {
  const lengthMin = Math.max(PASSWORD_LENGTH_FLOOR, policy.lengthMin);
  const characters = Array.from(password).length;
  const isIn = (name: string): boolean =>
    name.length > 3 && password.toLowerCase().includes(name.toLowerCase());
  const rules: readonly (readonly [boolean, string])[] = [
    [characters < lengthMin, `at least ${lengthMin} characters`],
    [characters > PASSWORD_LENGTH_MAX, `at most ${PASSWORD_LENGTH_MAX} characters`],
    [policy.needsUppercase && !/\p{Lu}/u.test(password), 'an uppercase letter'],
    [policy.needsLowercase && !/\p{Ll}/u.test(password), 'a lowercase letter'],
    [policy.needsDigit && !/\p{Nd}/u.test(password), 'a digit'],
    [
      policy.needsSpecial && !/[^\p{L}\p{Nd}]/u.test(password),
      'a character that is neither letter nor digit',
    ],
    [isIn(username), 'not the name of the account'],
    [isCommon(password), 'not one of the passwords that everybody tries first'],
  ];
  return rules.filter(([isBroken]) => isBroken).map(([, words]) => words);
};

/** @throws QflError `invalid_request` with everything that is wrong at once */
export const checkPassword = (password: string, policy: PasswordPolicy, username: string): void => {
  const faults = passwordFaults(password, policy, username);
  if (faults.length > 0)
    throw new QflError('invalid_request', {
      detail: `the password needs: ${faults.join('; ')}`,
      next: 'A sentence of several words with a number in it is easy to keep and hard to guess.',
      facts: { faults },
    });
};

/** At most so many at once; the others wait their turn. */
const createTurns = (most: number) => {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    running += 1;
    try {
      return await work();
    } finally {
      running -= 1;
      waiting.shift()?.();
    }
  };
};

export interface PasswordHasher {
  /** PHC string `$argon2id$…`. */
  hash(password: string): Promise<string>;
  /** Takes as long without a hash as with one, so that nobody learns whether an account exists. */
  verify(password: string, passwordHash: string | null): Promise<boolean>;
}

/** @returns works off the event loop, in the thread pool */
export const createPasswordHasher = async (): Promise<PasswordHasher> => {
  const turn = createTurns(HASHES_AT_ONCE);
  const nobody = await hash('nobody has this password', ARGON2);
  return {
    hash: (password) => turn(() => hash(password, ARGON2)),
    async verify(password, passwordHash) {
      const tooLong = password.length > 4 * PASSWORD_LENGTH_MAX;
      const isRight = await turn(() => verify(passwordHash ?? nobody, tooLong ? '' : password));
      return isRight && passwordHash !== null && !tooLong;
    },
  };
};
