/** Who a bearer token stands for: a person's access token, or a program's key. */
import type { Authenticator, Principal } from '../../shared/access/principal.ts';
import { QflError } from '../../shared/errors.ts';
import type { Accounts } from './accounts.ts';
import type { Sessions } from './sessions.ts';
import type { SignIn } from './sign-in.ts';
import { type AccessTokens, looksLikeToken } from './tokens.ts';

export interface AuthenticatorOptions {
  readonly keys: Authenticator;
  readonly tokens: Pick<AccessTokens, 'verify'>;
  readonly sessions: Pick<Sessions, 'use'>;
  readonly accounts: Pick<Accounts, 'get'>;
  readonly signIn: Pick<SignIn, 'isRestricted'>;
}

const over = (): QflError =>
  new QflError('unauthenticated', {
    detail: 'The session is over.',
    next: 'Sign in again: "qfl login".',
  });

export const createAuthenticator = ({
  keys,
  tokens,
  sessions,
  accounts,
  signIn,
}: AuthenticatorOptions): Authenticator => {
  const person = async (token: string): Promise<Principal> => {
    const { sub, sid } = await tokens.verify(token);
    // The token proves who asks; whether the session and the account still stand is asked each time, so revoking counts at once.
    const session = sessions.use(sid);
    if (session === undefined || session.account !== sub) throw over();
    const account = accounts.get(sub);
    if (account.status !== 'active') throw over();
    return {
      kind: 'account',
      id: account.id,
      name: account.username,
      role: account.role,
      department: account.department,
      dataClass: account.dataClass,
      scopes: null,
      sessionId: sid,
      isRestricted: signIn.isRestricted(account),
    };
  };
  return { verify: (token) => (looksLikeToken(token) ? person(token) : keys.verify(token)) };
};
