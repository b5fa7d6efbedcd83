/** A hospital's folder: keys, audit log and profile in one encrypted store, records and documents in another. */
import { join } from 'node:path';
import { z } from 'zod';
import { fileAnchor } from '../shared/audit/anchor.ts';
import { type AuditLog, createAuditLog } from '../shared/audit/audit-log.ts';
import { AppendLog } from '../shared/audit/log.ts';
import { restoredOrigin } from '../shared/audit/origin.ts';
import type { PersonalDetails } from '../shared/audit/personal.ts';
import { AUDIT_PREFIX, openPersonalDetails } from '../shared/audit/program-log.ts';
import {
  readRestored,
  restoredAnchor,
  restoredPrefix,
  type RestoredState,
} from '../shared/backup/restored.ts';
import { fromUtf8, utf8 } from '../shared/bytes.ts';
import type { Clock } from '../shared/clock.ts';
import { siteLogOrigin } from '../shared/directory/quorum.ts';
import { QflError } from '../shared/errors.ts';
import { type ApiKeys, createApiKeys } from '../shared/http/api-keys.ts';
import { SiteId } from '../shared/ids.ts';
import { type MasterKeySources, openDataKey } from '../shared/keys/master.ts';
import { createVault, hasVault, openVault, OWN_LOG, type Vault } from '../shared/keys/vault.ts';
import type { RandomBytes } from '../shared/random.ts';
import { encryptedStore } from '../shared/store/encrypted.ts';
import { openLevelStore } from '../shared/store/level.ts';
import type { Store } from '../shared/store/port.ts';
import { FederationInfo } from '../shared/wire/federation-info.ts';
import { createRecords, type Records } from './records/store.ts';
import { createDocuments, type Documents } from './retrieval/documents.ts';

const PROFILE = 'profile';
/** Which site's recovery this folder began: its profile is there only when everything else is. */
export const RECOVERY_BEGUN = 'recovery-begun';

/** What joining fixed: who this site is and which coordinator it trusts. */
export const Profile = z.strictObject({
  site: SiteId,
  url: z.string(),
  /** The identity leaf as this site signed it, base64. */
  leaf: z.base64(),
  /** Fingerprint of the coordinator's identity, base64; pinned by the token. */
  coordinatorFingerprint: z.base64(),
  /** SHA-256 of its self-signed TLS certificate, hex. */
  tlsFingerprint: z.string().nullable(),
  federation: FederationInfo,
  /** False until the coordinator took the enrolment. */
  joined: z.boolean(),
});
export type Profile = z.infer<typeof Profile>;

export interface AgentHome {
  readonly path: string;
  readonly store: Store;
  readonly vault: Vault;
  readonly profile: Profile;
  readonly dataKey: Uint8Array;
  readonly audit: AuditLog;
  /** Personal detail beside its entries. */
  readonly personal: PersonalDetails;
  readonly restored: RestoredState;
  /** Of the records beside the store. */
  readonly recordStore: Store;
  readonly apiKeys: ApiKeys;
  readonly records: Records;
  readonly documents: Documents;
  close(): Promise<void>;
}

export interface AgentHomeOptions {
  readonly sources: MasterKeySources;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** Audit entries that may wait for the disk. */
  readonly logQueueEntries?: number;
}

/** The folder's state store before anything else is known. */
export interface BareHome {
  readonly store: Store;
  readonly dataKey: Uint8Array;
}

export const openBareHome = async (
  { sources, random }: AgentHomeOptions,
  create: boolean,
): Promise<BareHome> => {
  const dataKey = await openDataKey(sources, { create, random });
  return {
    dataKey,
    store: encryptedStore(await openLevelStore(join(sources.home, 'store')), dataKey, random),
  };
};

export const readProfile = async (store: Store): Promise<Profile | undefined> => {
  const value = await store.get(PROFILE);
  return value === undefined ? undefined : Profile.parse(JSON.parse(fromUtf8(value)));
};
export const writeProfile = (store: Store, profile: Profile): Promise<void> =>
  store.write([{ type: 'put', key: PROFILE, value: utf8(JSON.stringify(Profile.parse(profile))) }]);

/** New keys, or those of a join that was interrupted before the coordinator took it. */
export const keysForJoin = async (store: Store, random: RandomBytes): Promise<Vault> => {
  const profile = await readProfile(store);
  if (profile?.joined === true)
    throw new QflError('conflict', {
      detail: `this folder belongs to the site ${profile.site} already`,
      next: 'Start it with "qfl agent start", or choose another --home.',
    });
  if (profile === undefined && (await store.get(RECOVERY_BEGUN)) !== undefined)
    throw new QflError('conflict', {
      detail: 'this folder began a recovery',
      next: 'Run "qfl keys recover begin" again, or choose another --home.',
    });
  return profile === undefined && !(await hasVault(store))
    ? createVault(store, random)
    : openVault(store, random);
};

export const openAuditLog = (
  store: Store,
  vault: Vault,
  profile: Profile,
  home: string,
  create: boolean,
  clock: Clock,
  epoch: number,
  logQueueEntries?: number,
): Promise<AppendLog> => {
  const origin = restoredOrigin(siteLogOrigin(profile.federation.name, profile.site), epoch);
  const { signer, cosigner } = vault.logSigner(origin, OWN_LOG);
  return AppendLog.open({
    store,
    prefix: restoredPrefix(AUDIT_PREFIX, epoch),
    signer,
    cosigner: { by: cosigner, nowMs: () => clock.nowMs() },
    create,
    anchor: fileAnchor(join(home, restoredAnchor('audit.checkpoint', epoch))),
    ...(logQueueEntries === undefined ? {} : { queueEntriesMax: logQueueEntries }),
  });
};

/** Opens the agent of a folder. @throws QflError `config_invalid`, `conflict` (it is running), `storage_failed` */
export const openAgentHome = async (options: AgentHomeOptions): Promise<AgentHome> => {
  const { sources, clock, random } = options;
  const { store, dataKey } = await openBareHome(options, false);
  const undo: (() => Promise<void>)[] = [() => store.close()];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).toReversed()) await step();
  };
  try {
    const profile = await readProfile(store);
    if (profile?.joined !== true)
      throw new QflError('config_invalid', {
        detail: `${sources.home} has not joined a federation`,
        next: 'Run "qfl agent join URL --token …" first.',
      });
    const vault = await openVault(store, random);
    const restored = await readRestored(store);
    const log = await openAuditLog(
      store,
      vault,
      profile,
      sources.home,
      false,
      clock,
      restored.epoch,
      options.logQueueEntries,
    );
    undo.push(() => log.close());
    const personal = await openPersonalDetails(store, vault, random, restored);
    const recordStore = encryptedStore(await openLevelStore(join(sources.home, 'records')), dataKey, random);
    undo.push(() => recordStore.close());
    const records = createRecords({
      store: recordStore,
      blindingKey: vault.secretFor('record blinding'),
      random,
    });
    const documents = createDocuments({
      store: recordStore,
      blindingKey: vault.secretFor('document blinding'),
    });
    return {
      path: sources.home,
      store,
      vault,
      dataKey,
      records,
      recordStore,
      documents,
      profile,
      audit: createAuditLog({ log, source: profile.site, clock, random, personal }),
      personal,
      restored,
      apiKeys: createApiKeys({ store, prefix: 'apikey/', clock, random }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
};

/** The audit log of after a restore, empty. It has to be there before the agent starts. */
export const createRestoredAudit = async (
  home: AgentHome,
  epoch: number,
  { clock, random }: Pick<AgentHomeOptions, 'clock' | 'random'>,
): Promise<AuditLog> => {
  const log = await openAuditLog(home.store, home.vault, home.profile, home.path, true, clock, epoch);
  return createAuditLog({ log, source: home.profile.site, clock, random });
};
