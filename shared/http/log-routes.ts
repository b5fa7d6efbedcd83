/**
 * Logs as C2SP tlog-tiles serves them, so that anybody's client can follow them: `/v1/log/NAME/checkpoint`, `/v1/log/NAME/tile/…`. Hashes are
 * for everybody; entries for whom the log's access names.
 */
import { z } from 'zod';
import type { AppendLog } from '../audit/log.ts';
import { parseTilePath } from '../audit/tile-paths.ts';
import { TILE_WIDTH } from '../audit/tiles.ts';
import { QflError } from '../errors.ts';
import type { HttpApp } from './app.ts';
import type { RouteAccess } from './bearer.ts';

export interface ServedLog {
  readonly name: string;
  readonly log: AppendLog;
  /** The newest checkpoint with cosignatures; without one, the log's own newest is served. */
  cosigned(): Promise<string | undefined>;
  readonly entriesAccess: RouteAccess;
}

const ENTRIES = 'tile/entries';
const FOREVER = 'max-age=31536000, immutable';
const Rest = z.strictObject({ '*': z.string().max(100) });

const serveLog = ({ fastify }: HttpApp, served: ServedLog): void => {
  const { name, log, entriesAccess } = served;
  const base = `/v1/log/${name}`;
  fastify.get(
    `${base}/checkpoint`,
    {
      config: { access: 'public' },
      schema: { summary: 'Signed size and root of the log (C2SP tlog-checkpoint)' },
    },
    async (_request, reply) =>
      reply
        .type('text/plain; charset=utf-8')
        .header('cache-control', 'no-cache')
        .send((await served.cosigned()) ?? (await log.checkpoint())),
  );
  const tiles = (prefix: typeof ENTRIES | 'tile', access: RouteAccess): void => {
    const visibility = access === 'public' ? 'public' : 'private';
    fastify.get(
      `${base}/${prefix}/*`,
      { config: { access }, schema: { summary: 'A tile of the log (C2SP tlog-tiles)', params: Rest } },
      async (request, reply) => {
        const address = parseTilePath(`${prefix}/${request.params['*']}`);
        // The router keeps "%2F" as a part of a name and then decodes it: entries must not be had under the hashes' access.
        if ((address.level === 'entries') !== (prefix === ENTRIES))
          throw new QflError('not_found', { detail: 'there is no such tile' });
        const bytes = await log.tile(address);
        return reply
          .type('application/octet-stream')
          .header('cache-control', `${visibility}, ${address.width === TILE_WIDTH ? FOREVER : 'max-age=60'}`)
          .send(Buffer.from(bytes));
      },
    );
  };
  tiles(ENTRIES, entriesAccess);
  tiles('tile', 'public');
};

/** `policy`: who has to have signed a checkpoint, as a C2SP tlog-policy file. */
export const registerLogRoutes = (
  app: HttpApp,
  logs: readonly ServedLog[],
  policy?: { readonly access: RouteAccess; text(): string },
): void => {
  for (const log of logs) serveLog(app, log);
  if (policy === undefined) return;
  app.fastify.get(
    '/v1/log/policy',
    { config: { access: policy.access }, schema: { summary: 'Who has to have signed (C2SP tlog-policy)' } },
    (_request, reply) =>
      reply.type('text/plain; charset=utf-8').header('cache-control', 'no-cache').send(policy.text()),
  );
};
