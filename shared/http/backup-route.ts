/** A backup of the running program, for commands on its own machine: sealed under its master key before it leaves. */
import { Readable } from 'node:stream';
import type { ActorOf } from '../access/actor.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import { type BackupSource, writeBackup } from '../backup/write.ts';
import { QflError } from '../errors.ts';
import type { KeysAtRest } from '../keys/master.ts';
import type { HttpApp } from './app.ts';
import { principalOf } from './bearer.ts';

export interface BackupRouteOptions {
  readonly audit: Pick<AuditLog, 'record'>;
  readonly actorOf: ActorOf;
  /** The master key in force. */
  readonly keys: () => Promise<KeysAtRest>;
  readonly source: () => Promise<BackupSource>;
}

export const registerBackupRoute = ({ fastify }: HttpApp, options: BackupRouteOptions): void => {
  let isRunning = false;
  fastify.post(
    '/v1/admin/backup',
    {
      config: { access: 'machine.files' },
      schema: { summary: 'A backup of everything, sealed under the master key; only from this machine' },
    },
    async (request, reply) => {
      if (isRunning) throw new QflError('conflict', { detail: 'a backup is under way' });
      isRunning = true;
      try {
        const keys = await options.keys();
        await options.audit.record({
          action: 'backup.made',
          outcome: 'begun',
          ...options.actorOf(principalOf(request)),
        });
        const stream = Readable.from(writeBackup(await options.source(), keys), { objectMode: false });
        stream.once('close', () => (isRunning = false));
        return await reply.type('application/octet-stream').send(stream);
      } catch (error) {
        isRunning = false;
        throw error;
      }
    },
  );
};
