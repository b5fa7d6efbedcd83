/**
 * Identity providers: OpenID Connect (authorization code with PKCE; OIDC Core 1.0, RFC 7636) and GitHub's OAuth 2, which has no id token. What
 * comes out is who somebody is there and what it says of them; which role that gives is decided by the map of the configuration.
 */
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  ClientSecretPost,
  Configuration,
  discovery,
  fetchProtectedResource,
  None,
} from 'openid-client';
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import { isLoopback } from '../../shared/http/tls.ts';

export interface ProviderConfig {
  readonly name: string;
  readonly kind: 'oidc' | 'github';
  /** OIDC: the issuer; GitHub: its site (`https://github.com` or that of an enterprise server). */
  readonly issuer: string;
  /** GitHub only: its API. */
  readonly apiUrl: string | null;
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly scopes: readonly string[];
  /** Claim that holds groups or roles: a text or a list. For GitHub, organisations and `user:NAME`. */
  readonly roleClaim: string;
  readonly usernameClaim: string;
  /** First match wins. */
  readonly roles: readonly (readonly [claim: string, role: string])[];
}

export interface Identity {
  readonly issuer: string;
  readonly subject: string;
  readonly username: string;
  readonly claims: readonly string[];
}

export interface PendingSignIn {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  readonly redirectUri: string;
}

export interface Provider {
  readonly config: ProviderConfig;
  startUrl(pending: PendingSignIn): Promise<URL>;
  /** @throws QflError `unauthenticated` when the provider's answer does not hold, `not_connected` when it cannot be asked */
  identify(answer: URL, pending: PendingSignIn): Promise<Identity>;
}

const TIMEOUT_S = 10;

const texts = (value: unknown): readonly string[] => {
  if (typeof value === 'string') return [value];
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
};

const unreachable = (name: string, cause: unknown): QflError =>
  new QflError('not_connected', {
    detail: `the identity provider ${name} cannot be asked`,
    next: 'Check its issuer address, and that this machine may reach it.',
    cause,
  });
const refused = (cause: unknown): QflError =>
  new QflError('unauthenticated', {
    detail: 'The identity provider’s answer is not accepted.',
    next: 'Begin the sign-in again.',
    cause,
  });

const isPlainLoopback = (address: string): boolean => {
  const url = new URL(address);
  return url.protocol === 'http:' && isLoopback(url.hostname.replaceAll(/[[\]]/g, ''));
};

/** Discovered once; again after a failure. */
const discovered = (config: ProviderConfig) => {
  let known: Promise<Configuration> | undefined;
  return async (): Promise<Configuration> => {
    known ??= discovery(
      new URL(config.issuer),
      config.clientId,
      undefined,
      config.clientSecret === undefined ? None() : ClientSecretPost(config.clientSecret),
      // Plain HTTP to this machine only: a provider under test.
      { execute: isPlainLoopback(config.issuer) ? [allowInsecureRequests] : [], timeout: TIMEOUT_S },
    );
    try {
      return await known;
    } catch (cause) {
      known = undefined;
      throw unreachable(config.name, cause);
    }
  };
};

const urlFor = async (
  client: Configuration,
  config: ProviderConfig,
  { state, nonce, verifier, redirectUri }: PendingSignIn,
): Promise<URL> =>
  buildAuthorizationUrl(client, {
    redirect_uri: redirectUri,
    scope: config.scopes.join(' '),
    state,
    ...(config.kind === 'oidc' ? { nonce } : {}),
    code_challenge: await calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });

const createOidcProvider = (config: ProviderConfig): Provider => {
  const client = discovered(config);
  return {
    config,
    startUrl: async (pending) => urlFor(await client(), config, pending),
    async identify(answer, { state, nonce, verifier }) {
      const known = await client();
      try {
        const tokens = await authorizationCodeGrant(known, answer, {
          pkceCodeVerifier: verifier,
          expectedState: state,
          expectedNonce: nonce,
          idTokenExpected: true,
        });
        const claims = tokens.claims();
        if (claims === undefined) throw new Error('no id token');
        const [username = claims.sub] = texts(claims[config.usernameClaim]);
        return {
          issuer: claims.iss,
          subject: claims.sub,
          username,
          claims: texts(claims[config.roleClaim]),
        };
      } catch (cause) {
        throw refused(cause);
      }
    },
  };
};

const GitHubUser = z.looseObject({ id: z.int(), login: z.string() });
const GitHubOrganisations = z.array(z.looseObject({ login: z.string() }));

const createGitHubProvider = (config: ProviderConfig): Provider => {
  const site = config.issuer.replace(/\/$/, '');
  const api = (config.apiUrl ?? 'https://api.github.com').replace(/\/$/, '');
  const client = new Configuration(
    {
      issuer: site,
      authorization_endpoint: `${site}/login/oauth/authorize`,
      token_endpoint: `${site}/login/oauth/access_token`,
    },
    config.clientId,
    undefined,
    config.clientSecret === undefined ? None() : ClientSecretPost(config.clientSecret),
  );
  client.timeout = TIMEOUT_S;
  if (isPlainLoopback(site)) allowInsecureRequests(client);
  const read = async (token: string, path: string): Promise<unknown> => {
    const answer = await fetchProtectedResource(client, token, new URL(api + path), 'GET');
    return answer.json();
  };
  return {
    config,
    startUrl: (pending) => urlFor(client, config, pending),
    async identify(answer, { state, verifier }) {
      try {
        const { access_token: token } = await authorizationCodeGrant(client, answer, {
          pkceCodeVerifier: verifier,
          expectedState: state,
        });
        const user = GitHubUser.parse(await read(token, '/user'));
        const organisations = GitHubOrganisations.parse(await read(token, '/user/orgs'));
        return {
          issuer: site,
          // The login can be changed and given to somebody else; the number cannot.
          subject: String(user.id),
          username: user.login,
          claims: [`user:${user.login}`, ...organisations.map(({ login }) => login)],
        };
      } catch (cause) {
        throw refused(cause);
      }
    },
  };
};

export const createProvider = (config: ProviderConfig): Provider =>
  config.kind === 'github' ? createGitHubProvider(config) : createOidcProvider(config);

/** The role that the configuration gives to these claims; undefined: none, and nobody comes in. */
export const roleOf = ({ roles }: ProviderConfig, claims: readonly string[]): string | undefined =>
  roles.find(([claim]) => claims.includes(claim))?.[1];
