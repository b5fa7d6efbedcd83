/**
 * A site that lost its keys: a new folder with new keys under the old name, and the request that two administrators of other hospitals approve. The
 * ledger starts empty here; before it serves, the agent meets its own countersigned head and has to be restored from what others hold.
 */
import { puttingRestored, readRestored } from '../shared/backup/restored.ts';
import { createAuditLog } from '../shared/audit/audit-log.ts';
import { parseVerifierKey } from '../shared/audit/verifier-key.ts';
import { fromBase64, fromUtf8, toBase64, utf8 } from '../shared/bytes.ts';
import type { AgentConfig } from '../shared/config/config.ts';
import { broughtBySelf, type SiteKeys } from '../shared/directory/chain.ts';
import { fingerprintOf, parseLeaf } from '../shared/directory/record.ts';
import { encodeRequest, recoveryFromMs } from '../shared/directory/recovery.ts';
import { phraseOf } from '../shared/directory/show.ts';
import { QflError } from '../shared/errors.ts';
import { createHttpClient, type HttpClient } from '../shared/http/client.ts';
import type { Environment } from '../shared/http/proxy.ts';
import type { SiteId } from '../shared/ids.ts';
import { createVault, hasVault, openVault, type Vault } from '../shared/keys/vault.ts';
import { createMemoryStore } from '../shared/store/memory.ts';
import type { Store } from '../shared/store/port.ts';
import { FederationInfo, verifyFederation } from '../shared/wire/federation-info.ts';
import { normalPhrase } from '../shared/wire/keys.ts';
import { openDirectoryMirror } from './federation/directory.ts';
import { directoryOver } from './federation/directory-http.ts';
import {
  type AgentHomeOptions,
  type BareHome,
  openAuditLog,
  openBareHome,
  type Profile,
  readProfile,
  RECOVERY_BEGUN,
  writeProfile,
} from './home.ts';
import { createAgentLedger } from './ledger.ts';

const HTTP_TIMEOUT_MS = 15_000;

export interface RecoverOptions extends AgentHomeOptions {
  readonly url: string;
  readonly site: SiteId;
  /** The coordinator's fingerprint phrase, as its operator or another hospital read it. */
  readonly coordinatorPhrase: string;
  /** SHA-256 of its self-signed TLS certificate, hex. */
  readonly tlsFingerprint: string | undefined;
  readonly config: AgentConfig;
  readonly env: Environment;
}

export interface RecoverBegun {
  readonly site: SiteId;
  /** Of the new identity: to be read to whoever approves. */
  readonly phrase: string;
  readonly request: string;
  readonly fromMs: number;
}

const describe = async (client: HttpClient, phrase: string): Promise<FederationInfo> => {
  const info = await client.json('GET', '/v1/federation', FederationInfo);
  const { identity } = broughtBySelf(fromBase64(info.leaf));
  if (phraseOf(identity) !== normalPhrase(phrase))
    throw new QflError('key_changed', {
      detail: `the coordinator at this address has the fingerprint ${phraseOf(identity)}, not ${phrase}`,
      next: 'Check the address and the phrase: "qfl keys show" at the coordinator, or "qfl keys list" at another hospital.',
    });
  return verifyFederation(info, fingerprintOf(identity)).info;
};

/** The site's chain as it stands, from the public directory, checked whole. */
const chainOf = async (
  client: HttpClient,
  info: FederationInfo,
  { site, clock }: RecoverOptions,
): Promise<SiteKeys> => {
  const mirror = await openDirectoryMirror({
    store: createMemoryStore(),
    self: site,
    federation: info.name,
    logKeys: info.keysVerifierKeys.map(parseVerifierKey),
    clock,
  });
  await mirror.sync(directoryOver(client));
  const keys = mirror.seen.get(site);
  if (keys === undefined)
    throw new QflError('not_found', {
      detail: `there is no site ${site} in this federation`,
      next: 'A hospital that never joined is invited: "qfl site invite NAME" at the coordinator.',
    });
  return keys;
};

const begunFor = async (store: Store): Promise<string | undefined> => {
  const value = await store.get(RECOVERY_BEGUN);
  return value === undefined ? undefined : fromUtf8(value);
};

const inUse = (what: string): QflError =>
  new QflError('conflict', {
    detail: `this folder holds ${what}: they are not lost`,
    next: 'Choose another --home for a recovery, or use "qfl keys rotate" with the keys that are here.',
  });

/** New keys, or those of an earlier request of this folder. @throws QflError `conflict` when it belongs to something else */
const vaultFor = async (
  store: Store,
  known: Profile | undefined,
  options: RecoverOptions,
): Promise<Vault> => {
  const begun = await begunFor(store);
  if (known === undefined && (begun === undefined || begun === options.site)) {
    if (begun !== undefined && (await hasVault(store))) return openVault(store, options.random);
    // Of a coordinator, or of a join that was not finished: those keys stay what they are.
    if (await hasVault(store)) throw inUse('other keys');
    await store.write([{ type: 'put', key: RECOVERY_BEGUN, value: utf8(options.site) }]);
    return createVault(store, options.random);
  }
  const isOurs =
    known !== undefined &&
    known.site === options.site &&
    parseLeaf(fromBase64(known.leaf)).record.kind === 'recover';
  if (isOurs) return openVault(store, options.random);
  throw inUse(`the keys of ${known?.site ?? begun ?? 'another site'}`);
};

/** What the log of the lost home was called nobody knows here, and others have cosigned it: this one goes by a name that it cannot have had. */
const epochOf = async (store: Store, before: SiteKeys, atMs: number): Promise<number> => {
  const { epoch } = await readRestored(store);
  if (epoch > 0) return epoch;
  const next = before.sequence + 1;
  await store.write([puttingRestored({ epoch: next, restoredMs: atMs, backupMs: 0, before: null })]);
  return next;
};

/**
 * Makes the new home, or goes on with one that an interrupted attempt left; a request that is made again is of the same keys. The profile, which lets the
 * agent start, is written last.
 * @throws QflError `conflict`, `storage_failed`
 */
export const makeRecoveredHome = async (
  { store, dataKey }: BareHome,
  { info, before }: { readonly info: FederationInfo; readonly before: SiteKeys },
  options: RecoverOptions,
): Promise<RecoverBegun> => {
  const { site, clock, random, config, sources } = options;
  const known = await readProfile(store);
  const vault = await vaultFor(store, known, options);
  const atMs = Math.trunc(clock.nowMs());
  const fromMs = recoveryFromMs(atMs);
  const leaf = vault.signedRecord(await vault.recoveryRecord(site, { atMs, fromMs }, before));
  const { identity } = broughtBySelf(fromBase64(info.leaf));
  const profile: Profile = {
    site,
    url: options.url,
    leaf: toBase64(leaf),
    coordinatorFingerprint: toBase64(fingerprintOf(identity)),
    tlsFingerprint: options.tlsFingerprint ?? null,
    federation: info,
    joined: true,
  };
  const isNew = known === undefined;
  const epoch = await epochOf(store, before, atMs);
  const log = await openAuditLog(store, vault, profile, sources.home, isNew, clock, epoch);
  const audit = createAuditLog({ log, source: site, clock, random });
  await audit.record({ action: 'key.recovery', outcome: 'begun', objects: [{ kind: 'site', id: site }] });
  if (isNew) await createAgentLedger({ home: sources.home, site, dataKey, store, config, clock, random });
  await log.close();
  await writeProfile(store, profile);
  return { site, phrase: phraseOf(vault.identity.publicKeys), request: encodeRequest(leaf), fromMs };
};

/** @throws QflError `key_changed`, `not_found`, `conflict`, `not_connected` */
export const beginRecovery = async (options: RecoverOptions): Promise<RecoverBegun> => {
  const client = createHttpClient({
    baseUrl: options.url,
    pinnedFingerprint: options.tlsFingerprint,
    ...(options.config.coordinator.caFile === null ? {} : { caFile: options.config.coordinator.caFile }),
    env: options.env,
    timeoutMs: HTTP_TIMEOUT_MS,
  });
  try {
    const info = await describe(client, options.coordinatorPhrase);
    const before = await chainOf(client, info, options);
    const bare = await openBareHome(options, true);
    try {
      return await makeRecoveredHome(bare, { info, before }, options);
    } finally {
      await bare.store.close();
    }
  } finally {
    await client.close();
  }
};
