/** What of an agent goes into a backup, and what a restored one has to know before it starts. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BackupSource } from '../shared/backup/write.ts';
import { beginAuditAnew } from '../shared/backup/finish.ts';
import type { Clock } from '../shared/clock.ts';
import { type AgentHome, type AgentHomeOptions, createRestoredAudit } from './home.ts';

const LEDGER = 'ledger';
const JOURNAL = 'ledger.journal';
/** Made anew where they are missing: a lock, and room that is kept free. */
const NOT_KEPT: ReadonlySet<string> = new Set(['ledger.lock', 'ledger.reserve']);

export const agentBackup = async (
  home: Pick<AgentHome, 'path' | 'store' | 'recordStore' | 'profile'>,
  clock: Pick<Clock, 'nowMs'>,
  generator: string,
): Promise<BackupSource> => {
  const ledger = (await readdir(join(home.path, LEDGER))).filter((name) => !NOT_KEPT.has(name));
  const anchors = (await readdir(home.path)).filter((name) => name.startsWith('audit.checkpoint'));
  const inLedger = (name: string): string => `${LEDGER}/${name}`;
  return {
    head: { program: 'agent', name: home.profile.site, createdMs: Math.trunc(clock.nowMs()), generator },
    folder: home.path,
    // How far the ledger has come at least, before the journal that must reach it.
    filesBefore: [...anchors, ...ledger.filter((name) => !name.startsWith(JOURNAL)).map(inLedger)],
    stores: [
      { name: 'store', store: home.store },
      { name: 'records', store: home.recordStore },
    ],
    filesAfter: ledger.filter((name) => name.startsWith(JOURNAL)).map(inLedger),
  };
};

/** What a restored agent needs before it starts. */
export const finishRestore = (
  home: AgentHome,
  backupMs: number,
  options: Pick<AgentHomeOptions, 'clock' | 'random'>,
): Promise<void> =>
  beginAuditAnew(home, backupMs, options.clock, (epoch) => createRestoredAudit(home, epoch, options));
