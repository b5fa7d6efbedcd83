/** Signing in through a real OpenID provider, and through a stand-in of GitHub's OAuth 2. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCheckpoint } from '../../shared/audit/checkpoint.ts';
import { AccountPage, ProviderShown, Tokens, Whoami } from '../../shared/wire/accounts.ts';
import { startTestCoordinator, type TestCoordinator } from '../fixtures/coordinator.ts';
import { freePort } from '../fixtures/free-port.ts';
import { createBrowser, startProvider, type TestProvider } from '../fixtures/identity-provider.ts';

let provider: TestProvider;
let hub: Server;
let coordinator: TestCoordinator;
let organisations: readonly string[] = ['st-mary'];
let [challenge, yaml] = ['', ''];
const groups: Record<string, readonly string[]> = {
  'dr-grey': ['staff', 'clinicians'],
  'mr-brown': ['catering'],
  'ms-new': ['clinicians'],
};

/** GitHub's endpoints, with its way of answering. */
const answerAsHub = (request: IncomingMessage, response: ServerResponse): void => {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1');
  const json = (value: unknown, status = 200): void =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  if (url.pathname === '/login/oauth/authorize') {
    challenge = url.searchParams.get('code_challenge') ?? '';
    const back = new URL(url.searchParams.get('redirect_uri') ?? '');
    back.searchParams.set('code', 'a-code');
    back.searchParams.set('state', url.searchParams.get('state') ?? '');
    response.writeHead(302, { location: back.href }).end();
    return;
  }
  if (url.pathname === '/login/oauth/access_token') {
    let text = '';
    request.on('data', (piece: Buffer) => (text += piece.toString()));
    request.on('end', () => {
      const form = new URLSearchParams(text);
      const given = createHash('sha256')
        .update(form.get('code_verifier') ?? '')
        .digest('base64url');
      const isRight = form.get('client_secret') === 'hub-secret' && given === challenge;
      json(
        isRight ? { access_token: 'hub-token', token_type: 'bearer' } : { error: 'bad_verification_code' },
        isRight ? 200 : 400,
      );
    });
    return;
  }
  if (request.headers.authorization !== 'Bearer hub-token') return json({}, 401);
  json(url.pathname === '/user' ? { id: 7, login: 'Octo' } : organisations.map((login) => ({ login })));
};

beforeAll(async () => {
  const [port, hubPort] = [await freePort(), await freePort()];
  provider = await startProvider(groups, `http://127.0.0.1:${port}/v1/auth/providers/hospital/callback`);
  hub = createServer(answerAsHub);
  await new Promise<void>((resolve) => hub.listen(hubPort, '127.0.0.1', resolve));
  yaml = `auth:
  providers:
    - {name: hospital, issuer: "${provider.issuer}", client_id: qfl, client_secret_env: OIDC_SECRET, scopes: [openid], roles: {clinicians: doctor, auditing: auditor}}
    - {name: hub, kind: github, issuer: "http://127.0.0.1:${hubPort}", api_url: "http://127.0.0.1:${hubPort}", client_id: qfl, client_secret_env: HUB_SECRET, roles: {"user:Root": admin, st-mary: researcher}}
    - {name: away, issuer: "http://127.0.0.1:9", client_id: qfl}
`;
  coordinator = await startTestCoordinator(
    yaml,
    { OIDC_SECRET: 'the-secret-of-the-client', HUB_SECRET: 'hub-secret' },
    port,
  );
});
afterAll(async () => {
  await coordinator.close();
  await provider.close();
  hub.close();
});

const start = (name: string, query = ''): string =>
  `${coordinator.url}/v1/auth/providers/${name}/start${query}`;
const signIn = async (name: string, query = ''): Promise<{ url: string; answer: Response }> =>
  createBrowser().signIn(start('hospital', query), name);
const whoIs = async (tokens: Tokens) =>
  Whoami.parse((await coordinator.call('/v1/auth/me', { key: tokens.accessToken })).body);
const accounts = async () =>
  AccountPage.parse((await coordinator.call('/v1/accounts', { key: await coordinator.key('admin') })).body)
    .accounts;

const sizeOfLog = async (): Promise<number> =>
  readCheckpoint(await coordinator.running.home.audit.log.checkpoint()).size;

describe('an OpenID provider', () => {
  it('is there by name; one that cannot be reached says so', async () => {
    const here = await fetch(start('hospital'), { redirect: 'manual' });
    expect(here.headers.get('set-cookie')).not.toContain('Secure');
    const { providers } = ProviderShown.parse((await coordinator.call('/v1/auth/providers')).body);
    expect(providers.map(({ name }) => name)).toEqual(['hospital', 'hub', 'away']);
    expect((await coordinator.call('/v1/auth/providers/none/start')).status).toBe(404);
    expect((await coordinator.call('/v1/auth/providers/away/start')).status).toBe(503);
  });

  it('vouches for somebody whose group has a role; the same person is the same account again', async () => {
    const first = Tokens.parse(await (await signIn('dr-grey')).answer.json());
    expect(await whoIs(first)).toMatchObject({
      name: 'dr-grey',
      role: 'doctor',
      dataClass: 'restricted',
      restricted: false,
    });
    const second = Tokens.parse(await (await signIn('dr-grey')).answer.json());
    expect((await whoIs(second)).id).toBe((await whoIs(first)).id);
    expect((await accounts()).filter(({ provider: by }) => by === 'hospital')).toHaveLength(1);
    // There is no password to guess.
    const login = await coordinator.call('/v1/auth/login', {
      body: { username: 'dr-grey', password: 'quick' },
    });
    expect(login.status).toBe(401);
  });

  it('does not let in whom no role is given, nor any more whom it was taken from', async () => {
    const refused = await signIn('mr-brown');
    expect(refused.answer.status).toBe(403);
    groups['dr-grey'] = ['staff'];
    expect((await signIn('dr-grey')).answer.status).toBe(403);
    groups['dr-grey'] = ['clinicians'];
  });

  it('is answered only to the browser that began, with its state, once', async () => {
    const browser = createBrowser();
    const { url, answer } = await browser.signIn(start('hospital'), 'dr-grey');
    expect(answer.status).toBe(200);
    expect((await browser.go(url)).answer.status).toBe(401);
    expect((await createBrowser().go(url)).answer.status).toBe(401);
    const other = createBrowser();
    await other.go(start('hub'));
    const mixed = await other.go(`${coordinator.url}/v1/auth/providers/hospital/callback?code=x&state=y`);
    expect(mixed.answer.status).toBe(401);
  });

  it('hands a waiting command line a code that is good for one exchange, with its verifier', async () => {
    const verifier = 'v'.repeat(43);
    const sent = createHash('sha256').update(verifier).digest('base64url');
    const { url } = await signIn('dr-grey', `?handoff=54321&challenge=${sent}`);
    const back = new URL(url);
    expect(back.host).toBe('127.0.0.1:54321');
    const exchange = (body: { code: string; verifier: string }) =>
      coordinator.call('/v1/auth/providers/exchange', { body });
    const code = back.searchParams.get('code') ?? '';
    const tokens = Tokens.parse((await exchange({ code, verifier })).body);
    expect((await whoIs(tokens)).name).toBe('dr-grey');
    expect((await exchange({ code, verifier })).status).toBe(401);
    const again =
      new URL((await signIn('dr-grey', `?handoff=54321&challenge=${sent}`)).url).searchParams.get('code') ??
      '';
    expect((await exchange({ code: again, verifier: 'w'.repeat(43) })).status).toBe(401);
  });
});

describe('the audit log of sign-ins through a provider', () => {
  it('says who was made, changed, let in and refused, and by which provider; never a name', async () => {
    const before = await sizeOfLog();
    await signIn('ms-new');
    groups['ms-new'] = ['auditing'];
    await signIn('ms-new');
    groups['ms-new'] = ['catering'];
    await signIn('ms-new');
    await signIn('mr-brown');
    const entries = [];
    for await (const entry of coordinator.running.home.audit.entries(before, await sizeOfLog()))
      if (entry.action.startsWith('account.')) entries.push(entry);
    expect(
      entries.map(({ action, actor, objects }) => [
        action,
        actor !== null,
        objects.find(({ kind }) => kind === 'provider')?.id,
      ]),
    ).toEqual([
      ['account.created', false, 'hospital'],
      ['account.signed_in', true, 'hospital'],
      ['account.changed', true, 'hospital'],
      ['account.signed_in', true, 'hospital'],
      ['account.sign_in_refused', true, 'hospital'],
      ['account.sign_in_refused', false, 'hospital'],
    ]);
    expect(JSON.stringify(entries)).not.toMatch(/ms-new|mr-brown/);
  });
});

describe('GitHub', () => {
  const hubSignIn = () => createBrowser().go(start('hub'));

  it('vouches by organisation, and is known by its number', async () => {
    const tokens = Tokens.parse(await (await hubSignIn()).answer.json());
    expect(await whoIs(tokens)).toMatchObject({ name: 'octo', role: 'researcher' });
    expect((await accounts()).find(({ username }) => username === 'octo')?.provider).toBe('hub');
  });

  it('does not let in whoever left the organisation', async () => {
    organisations = [];
    expect((await hubSignIn()).answer.status).toBe(403);
  });
});

describe('a new configuration', () => {
  it('takes a provider out of force at once, and brings another address of this coordinator in', async () => {
    const dropped = yaml
      .split('\n')
      .filter((line) => !line.includes('name: hub'))
      .join('\n');
    await coordinator.reload(`public_url: "https://qfl.hospital.test"\n${dropped}`);
    const { providers } = ProviderShown.parse((await coordinator.call('/v1/auth/providers')).body);
    expect(providers.map(({ name }) => name)).toEqual(['hospital', 'away']);
    expect((await coordinator.call('/v1/auth/providers/hub/start')).status).toBe(404);
    const begun = await fetch(start('hospital'), { redirect: 'manual' });
    // People reach it over TLS, whatever stands in between.
    expect(begun.headers.get('set-cookie')).toMatch(/; Secure$/);
    const to = new URL(begun.headers.get('location') ?? '');
    expect(to.searchParams.get('redirect_uri')).toBe(
      'https://qfl.hospital.test/v1/auth/providers/hospital/callback',
    );
  });
});
