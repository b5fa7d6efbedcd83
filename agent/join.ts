/**
 * Joining a federation: keys are made here, the coordinator is verified against the token's fingerprint, and the enrolment handshake
 * introduces the one to the other. Interrupted before the end, it can be run again with the same token and folder.
 */
import { createAuditLog } from '../shared/audit/audit-log.ts';
import { concat, fromBase64, toBase64 } from '../shared/bytes.ts';
import { enrolmentPsk, STATEMENT_LABEL } from '../shared/crypto/handshake.ts';
import { directoryLeafHash, fingerprintOf, fingerprintPhrase } from '../shared/directory/record.ts';
import { QflError, toQflError } from '../shared/errors.ts';
import { createHttpClient } from '../shared/http/client.ts';
import type { Environment } from '../shared/http/proxy.ts';
import type { Vault } from '../shared/keys/vault.ts';
import type { Logger } from '../shared/log.ts';
import { FederationInfo, type VerifiedFederation, verifyFederation } from '../shared/wire/federation-info.ts';
import { type JoinToken, parseJoinToken } from '../shared/wire/join-token.ts';
import { METHODS, Standing } from '../shared/wire/session.ts';
import { createAgentLedger } from './ledger.ts';
import type { AgentConfig } from '../shared/config/config.ts';
import {
  type AgentHomeOptions,
  keysForJoin,
  openAuditLog,
  openBareHome,
  type Profile,
  readProfile,
  writeProfile,
} from './home.ts';
import { openSession, type SessionIdentity } from './federation/session.ts';
import { openSocket } from './federation/socket.ts';
import { readTrust } from './federation/trust.ts';

const HTTP_TIMEOUT_MS = 15_000;
const ENROLMENT_TIMEOUT_MS = 15_000;

export interface JoinOptions extends AgentHomeOptions {
  readonly url: string;
  readonly token: string;
  readonly config: AgentConfig;
  readonly env: Environment;
  readonly logger: Logger;
}

export interface JoinResult {
  readonly site: string;
  readonly status: 'pending' | 'approved';
  /** To be read to the coordinator's operator. */
  readonly fingerprintPhrase: string;
  /** To be compared with what the operator reads. */
  readonly coordinatorPhrase: string;
}

const fetchFederation = async (
  token: JoinToken,
  { url, config, env }: JoinOptions,
): Promise<VerifiedFederation> => {
  const { caFile } = config.coordinator;
  const client = createHttpClient({
    baseUrl: url,
    pinnedFingerprint: token.tlsFingerprint,
    ...(caFile === null ? {} : { caFile }),
    env,
    timeoutMs: HTTP_TIMEOUT_MS,
  });
  try {
    return verifyFederation(await client.json('GET', '/v1/federation', FederationInfo), token.fingerprint);
  } finally {
    await client.close();
  }
};

/** One handshake and one question: how does this site stand? */
const introduce = async (
  token: JoinToken,
  identity: SessionIdentity,
  vault: Vault,
  options: JoinOptions,
): Promise<Standing> => {
  const socket = await openSocket({
    url: options.url,
    pinnedFingerprint: token.tlsFingerprint,
    ca: await readTrust(options.config),
    env: options.env,
    connectTimeoutMs: ENROLMENT_TIMEOUT_MS,
  });
  const session = await openSession(
    socket,
    () => Promise.resolve(identity),
    {
      [METHODS.board]: { kind: 'event', accept: () => undefined },
      [METHODS.dismissed]: { kind: 'event', accept: () => undefined },
    },
    { clock: options.clock, hedge: vault.hedge, logger: options.logger },
  );
  try {
    const { header } = await session.peer.request(METHODS.hello, {}, { timeoutMs: ENROLMENT_TIMEOUT_MS });
    return Standing.parse(header);
  } catch (cause) {
    if (toQflError(cause).code !== 'not_connected') throw cause;
    // The coordinator says nothing to a site that it does not take: it closes.
    throw new QflError('handshake_refused', {
      detail: 'the coordinator closed the connection instead of taking this site',
      next: "Run the same command again. Refused again, the site's name is taken or the token is used or expired: ask the operator for a new invitation.",
      cause,
    });
  } finally {
    session.close();
  }
};

/** @param isRepeated an earlier run with this folder may have got as far as the coordinator, which used the token up */
const enrol = async (
  profile: Profile,
  token: JoinToken,
  federation: VerifiedFederation,
  vault: Vault,
  isRepeated: boolean,
  options: JoinOptions,
): Promise<Standing> => {
  const [kem] = await vault.kemKeys();
  if (kem === undefined) throw new QflError('internal', { detail: 'no key to join with' });
  const leaf = fromBase64(profile.leaf);
  const common = {
    coordinatorKey: federation.kemKey,
    logOrigin: federation.info.logOrigin,
    staticKey: kem.pair,
    leafHash: directoryLeafHash(leaf),
    checkpoint: { size: 0n, root: new Uint8Array(32) },
  };
  const sign = (hash: Uint8Array): Uint8Array => vault.identity.sign(STATEMENT_LABEL, hash);
  const newcomer: SessionIdentity = {
    ...common,
    enrolment: { tokenId: token.tokenId, psk: enrolmentPsk(token.secret), site: token.site },
    statement: (hash) => concat(sign(hash), leaf),
  };
  try {
    return await introduce(token, newcomer, vault, options);
  } catch (refusal) {
    if (!isRepeated) throw refusal;
    return introduce(token, { ...common, statement: sign }, vault, options).catch(() => {
      throw refusal;
    });
  }
};

/** @throws QflError `token_refused`, `key_changed`, `not_connected`, `handshake_refused`, `conflict` */
export const joinFederation = async (options: JoinOptions): Promise<JoinResult> => {
  const token = parseJoinToken(options.token);
  const federation = await fetchFederation(token, options);
  const { store, dataKey } = await openBareHome(options, true);
  try {
    const vault = await keysForJoin(store, options.random);
    const kept = await readProfile(store);
    if (kept !== undefined && kept.site !== token.site)
      throw new QflError('conflict', {
        detail: `this folder began to join as ${kept.site}, and the token is for ${token.site}`,
        next: `Choose another --home, or remove ${options.sources.home} and join again.`,
      });
    const leaf =
      kept === undefined
        ? await vault.identityLeaf(token.site, Math.trunc(options.clock.nowMs()), undefined)
        : fromBase64(kept.leaf);
    const profile: Profile = {
      site: token.site,
      url: options.url,
      leaf: toBase64(leaf),
      coordinatorFingerprint: toBase64(token.fingerprint),
      tlsFingerprint: token.tlsFingerprint ?? null,
      federation: federation.info,
      joined: false,
    };
    await writeProfile(store, profile);
    const log = await openAuditLog(
      store,
      vault,
      profile,
      options.sources.home,
      kept === undefined,
      options.clock,
      0,
    );
    const audit = createAuditLog({ log, source: token.site, clock: options.clock, random: options.random });
    await audit.record({ action: 'site.joined', outcome: 'begun' });
    await createAgentLedger({
      home: options.sources.home,
      site: token.site,
      dataKey,
      store,
      config: options.config,
      clock: options.clock,
      random: options.random,
    });
    const standing = await enrol(profile, token, federation, vault, kept !== undefined, options);
    await writeProfile(store, { ...profile, joined: true });
    await audit.record({ action: 'site.joined', outcome: 'ok' });
    await log.close();
    return {
      site: token.site,
      status: standing.status,
      fingerprintPhrase: fingerprintPhrase(fingerprintOf(vault.identity.publicKeys)),
      coordinatorPhrase: fingerprintPhrase(token.fingerprint),
    };
  } finally {
    await store.close();
  }
};
