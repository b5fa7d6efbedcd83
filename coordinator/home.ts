/** A coordinator's folder: keys, logs and registry in one encrypted store, checkpoints of the logs beside it. */
import { join } from 'node:path';
import { createAuditLog, type AuditLog } from '../shared/audit/audit-log.ts';
import { fileAnchor } from '../shared/audit/anchor.ts';
import { AppendLog } from '../shared/audit/log.ts';
import { restoredOrigin } from '../shared/audit/origin.ts';
import type { PersonalDetails } from '../shared/audit/personal.ts';
import { AUDIT_PREFIX, openPersonalDetails } from '../shared/audit/program-log.ts';
import type { NoteSigner } from '../shared/audit/note.ts';
import {
  readRestored,
  restoredAnchor,
  restoredPrefix,
  type RestoredState,
} from '../shared/backup/restored.ts';
import type { Clock } from '../shared/clock.ts';
import { COORDINATOR_NAME, fingerprintOf } from '../shared/directory/record.ts';
import { QflError } from '../shared/errors.ts';
import { type ApiKeys, createApiKeys } from '../shared/http/api-keys.ts';
import { type MasterKeySources, openDataKey } from '../shared/keys/master.ts';
import { createVault, openVault, type Vault } from '../shared/keys/vault.ts';
import type { RandomBytes } from '../shared/random.ts';
import { encryptedStore } from '../shared/store/encrypted.ts';
import { openLevelStore } from '../shared/store/level.ts';
import type { Store } from '../shared/store/port.ts';
import { type KeyLog, openKeyLog } from './directory/key-log.ts';
import { z } from 'zod';
import { fromUtf8, utf8 } from '../shared/bytes.ts';

const FEDERATION = 'federation';
const Federation = z.strictObject({ name: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,62}$/) });

export interface CoordinatorHome {
  readonly name: string;
  /** Where it is on this machine. */
  readonly folder: string;
  readonly store: Store;
  readonly vault: Vault;
  readonly keyLog: KeyLog;
  readonly audit: AuditLog;
  /** Personal detail beside its entries. */
  readonly personal: PersonalDetails;
  readonly restored: RestoredState;
  readonly apiKeys: ApiKeys;
  /** Signs exports and reports: the key of the audit log, which every hospital knows; no checkpoint of that log begins as these texts do. */
  readonly exportSigner: NoteSigner;
  /** 32 bytes that name the coordinator's identity of now. */
  readonly fingerprint: Uint8Array;
  close(): Promise<void>;
}

export interface HomeOptions {
  readonly sources: MasterKeySources;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** Log entries that may wait for the disk. */
  readonly logQueueEntries?: number;
}

const readName = async (store: Store): Promise<string> => {
  const value = await store.get(FEDERATION);
  if (value === undefined)
    throw new QflError('config_invalid', {
      detail: 'this folder holds no coordinator',
      next: 'Run "qfl coordinator init" first.',
    });
  return Federation.parse(JSON.parse(fromUtf8(value))).name;
};

interface LogParts {
  readonly store: Store;
  readonly vault: Vault;
  readonly name: string;
  readonly options: HomeOptions;
}

/** @param epoch of the audit log. Agents mirror the directory whole, so a restored one is brought up to date and keeps its name. */
const openLogOf = (
  kind: 'keys' | 'audit',
  epoch: number,
  create: boolean,
  { store, vault, name, options: { sources, clock, logQueueEntries } }: LogParts,
): Promise<AppendLog> => {
  const base = `qfl/${name}/${kind}`;
  const { signer, cosigner } = vault.logSigner(restoredOrigin(base, epoch), base);
  return AppendLog.open({
    store,
    prefix: kind === 'audit' ? restoredPrefix(AUDIT_PREFIX, epoch) : `log/${kind}/`,
    signer,
    cosigner: { by: cosigner, nowMs: () => clock.nowMs() },
    create,
    anchor: fileAnchor(join(sources.home, restoredAnchor(`${kind}.checkpoint`, epoch))),
    ...(logQueueEntries === undefined ? {} : { queueEntriesMax: logQueueEntries }),
  });
};

/** The audit log of after a restore, empty. It has to be there before the coordinator starts. */
export const createRestoredAudit = async (
  { store, vault, name }: CoordinatorHome,
  epoch: number,
  options: HomeOptions,
): Promise<AuditLog> => {
  const log = await openLogOf('audit', epoch, true, { store, vault, name, options });
  return createAuditLog({ log, source: 'coordinator', clock: options.clock, random: options.random });
};

const assemble = async (
  store: Store,
  vault: Vault,
  name: string,
  create: boolean,
  options: HomeOptions,
): Promise<CoordinatorHome> => {
  const { sources, clock, random } = options;
  const restored = await readRestored(store);
  const openLog = (kind: 'keys' | 'audit'): Promise<AppendLog> =>
    openLogOf(kind, kind === 'audit' ? restored.epoch : 0, create, { store, vault, name, options });
  const keyLog = await openKeyLog(await openLog('keys'));
  const auditLog = await openLog('audit');
  const personal = await openPersonalDetails(store, vault, random, restored);
  return {
    name,
    folder: sources.home,
    store,
    vault,
    keyLog,
    audit: createAuditLog({ log: auditLog, source: 'coordinator', clock, random, personal }),
    personal,
    restored,
    apiKeys: createApiKeys({ store, prefix: 'apikey/', clock, random }),
    exportSigner: vault.logSigner(`qfl/${name}/audit`).signer,
    get fingerprint() {
      return fingerprintOf(vault.identity.publicKeys);
    },
    async close() {
      await auditLog.close();
      await keyLog.log.close();
      await store.close();
    },
  };
};

const openStore = async (options: HomeOptions, create: boolean): Promise<Store> => {
  const dataKey = await openDataKey(options.sources, { create, random: options.random });
  return encryptedStore(await openLevelStore(join(options.sources.home, 'store')), dataKey, options.random);
};

/** Closes the store when what follows fails, so that the folder is not left locked. */
const withStore = async (store: Store, build: () => Promise<CoordinatorHome>): Promise<CoordinatorHome> => {
  try {
    return await build();
  } catch (error) {
    await store.close();
    throw error;
  }
};

/** Makes a new coordinator in an empty folder. @throws QflError `conflict` when there is one already */
export const createCoordinatorHome = async (name: string, options: HomeOptions): Promise<CoordinatorHome> => {
  const checked = Federation.safeParse({ name });
  if (!checked.success)
    throw new QflError('invalid_request', {
      detail: 'a federation name is 1–63 characters of a–z, 0–9, "." and "-"',
    });
  const store = await openStore(options, true);
  return withStore(store, async () => {
    if ((await store.get(FEDERATION)) !== undefined)
      throw new QflError('conflict', {
        detail: `${options.sources.home} holds a coordinator already`,
        next: 'Start it with "qfl coordinator start", or choose another --home.',
      });
    const vault = await createVault(store, options.random);
    const home = await assemble(store, vault, name, true, options);
    await home.keyLog.publish(
      COORDINATOR_NAME,
      await vault.identityLeaf(COORDINATOR_NAME, options.clock.nowMs(), undefined),
    );
    await store.write([{ type: 'put', key: FEDERATION, value: utf8(JSON.stringify({ name })) }]);
    return home;
  });
};

/** Opens the coordinator of a folder. @throws QflError `config_invalid`, `conflict` (it is running), `storage_failed` */
export const openCoordinatorHome = async (options: HomeOptions): Promise<CoordinatorHome> => {
  const store = await openStore(options, false);
  return withStore(store, async () =>
    assemble(store, await openVault(store, options.random), await readName(store), false, options),
  );
};
