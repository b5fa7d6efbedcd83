/** Another master key, logged: by the program that runs, or by a command while it rests, which leaves a note for the log. */
import type { AuditLog } from '../audit/audit-log.ts';
import type { RandomBytes } from '../random.ts';
import type { Store } from '../store/port.ts';
import { type MasterKeySources, type MasterSource, readMasterFile, rotateMasterKey } from './master.ts';

const NOTE = 'key/master-rotated';
const ENTRY = { action: 'key.rotated', objects: [{ kind: 'keys', id: 'master' }] } as const;

export const masterRotation =
  (sources: MasterKeySources, { audit, random }: { audit: Pick<AuditLog, 'record'>; random: RandomBytes }) =>
  async (file: string | null, role: string): Promise<MasterSource> => {
    const next = file === null ? undefined : await readMasterFile(file);
    await audit.record({ ...ENTRY, outcome: 'begun', role });
    const source = await rotateMasterKey(sources, { next, random });
    await audit.record({ ...ENTRY, outcome: 'ok', role });
    return source;
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
