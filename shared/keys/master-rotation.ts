/** Another master key, logged: by the program that runs, or by a command while it rests, which leaves a note for the log. */
import type { AuditLog } from '../audit/audit-log.ts';
import { toBase64 } from '../bytes.ts';
import type { RandomBytes } from '../random.ts';
import { createSerial } from '../serial.ts';
import type { Store } from '../store/port.ts';
import {
  type KeysAtRest,
  type MasterKeySources,
  type MasterSource,
  readKeysAtRest,
  readMasterFile,
  rotateMasterKey,
} from './master.ts';

const NOTE = 'key/master-rotated';
const ENTRY = { action: 'key.rotated', objects: [{ kind: 'keys', id: 'master' }] } as const;

/** The master key of a program that runs. */
export interface MasterKeyInForce {
  /** With the data key under it, as they are at one moment. @throws QflError `config_invalid`, `storage_failed` */
  keys(): Promise<KeysAtRest>;
  /** @throws QflError `config_invalid`, `invalid_request`, `storage_failed` */
  rotate(file: string | null, role: string): Promise<MasterSource>;
}

export const masterKeyInForce = (
  sources: MasterKeySources,
  { audit, random }: { audit: Pick<AuditLog, 'record'>; random: RandomBytes },
): MasterKeyInForce => {
  // Two changes at once would leave one's key beside the other's wrapping.
  const inTurn = createSerial();
  /** A key that came from outside is replaced there for the next start; what this program was given at its own opens nothing any more. */
  let replaced: { readonly key: Uint8Array; readonly source: MasterSource } | undefined;
  const now = (): MasterKeySources =>
    replaced === undefined ? sources : { ...sources, environment: toBase64(replaced.key) };
  const rotate = async (file: string | null, role: string): Promise<MasterSource> => {
    const next = file === null ? undefined : await readMasterFile(file);
    await audit.record({ ...ENTRY, outcome: 'begun', role });
    const found = await rotateMasterKey(now(), { next, random });
    const source = replaced?.source ?? found;
    if (source !== 'file' && next !== undefined) replaced = { key: next, source };
    await audit.record({ ...ENTRY, outcome: 'ok', role });
    return source;
  };
  return {
    keys: () => inTurn(() => readKeysAtRest(now(), random)),
    rotate: (file, role) => inTurn(() => rotate(file, role)),
  };
};

/** The program rests: it writes the entry when it starts. */
export const noteRotation = (store: Store): Promise<void> =>
  store.write([{ type: 'put', key: NOTE, value: new Uint8Array(0) }]);

/** At a start: the entry of a change that was made while the program rested. */
export const logNotedRotation = async (store: Store, audit: Pick<AuditLog, 'record'>): Promise<void> => {
  if ((await store.get(NOTE)) === undefined) return;
  await audit.record({ ...ENTRY, outcome: 'ok', role: 'operator' });
  await store.write([{ type: 'del', key: NOTE }]);
};
