/** The audit log over HTTP, the same at both programs: pages, single entries with their proof, holds, erasure, retention. Reading is logged too. */
import { z } from 'zod';
import type { ActorOf } from '../access/actor.ts';
import type { Principal } from '../access/principal.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import { encodeEntry } from '../audit/entry.ts';
import { Hold, type Retention } from '../audit/retention.ts';
import { searchAudit } from '../audit/search.ts';
import { fromUtf8, toBase64 } from '../bytes.ts';
import { readCheckpoint } from '../audit/checkpoint.ts';
import { QflError } from '../errors.ts';
import {
  AuditEntryShown,
  AuditPageShown,
  AuditQuery,
  EraseRequest,
  Erased,
  HoldReleased,
  HoldRequest,
  HoldsShown,
  PruneRequest,
  PruneShown,
} from '../wire/audit.ts';
import type { HttpApp } from './app.ts';
import { principalOf } from './bearer.ts';

export interface AuditRouteOptions {
  readonly audit: AuditLog;
  readonly retention: Retention;
  readonly actorOf: ActorOf;
}

const READ = { access: 'audit.read' } as const;
const CHANGE = { access: 'audit.change' } as const;

const readRoutes = ({ fastify }: HttpApp, { audit, actorOf }: AuditRouteOptions): void => {
  const logged = (by: Principal, what: string): Promise<unknown> =>
    audit.record({
      action: 'audit.read',
      outcome: 'ok',
      ...actorOf(by),
      objects: [{ kind: 'entries', id: what }],
    });
  fastify.get(
    '/security/audit',
    {
      config: READ,
      schema: {
        summary: 'Entries of the audit log, filtered',
        querystring: AuditQuery,
        response: { 200: AuditPageShown },
      },
    },
    async (request) => {
      const { from, limit, order, ...filter } = request.query;
      // The page as it was before this reading became an entry of it.
      const page = await searchAudit(audit, filter, { from, limit, oldestFirst: order === 'oldest' });
      const first = page.entries[0]?.counter;
      const last = page.entries.at(-1)?.counter;
      await logged(principalOf(request), first === undefined ? 'none' : `${first}-${last ?? first}`);
      return { ...page, entries: [...page.entries] };
    },
  );
  fastify.get(
    '/security/audit/:index',
    {
      config: READ,
      schema: {
        summary: 'One entry with its detail and its proof',
        params: z.strictObject({ index: z.coerce.number().pipe(z.int().nonnegative()) }),
        response: { 200: AuditEntryShown },
      },
    },
    async (request) => {
      const { index } = request.params;
      const checkpoint = await audit.log.checkpoint();
      const { size } = readCheckpoint(checkpoint);
      for await (const entry of audit.entries(index, index + 1)) {
        if (index >= size) break;
        const path = await audit.log.inclusionProof(index, size);
        const detail = await audit.detail(index);
        await logged(principalOf(request), String(index));
        return {
          entry,
          leaf: fromUtf8(encodeEntry(entry)),
          detail: detail === undefined ? null : fromUtf8(detail),
          proof: { index, size, path: path.map(toBase64), checkpoint },
        };
      }
      throw new QflError('not_found', { detail: `the log has ${size} entries` });
    },
  );
};

const holdRoutes = ({ fastify }: HttpApp, { retention }: AuditRouteOptions): void => {
  fastify.get(
    '/security/audit/holds',
    { config: READ, schema: { summary: 'Legal holds', response: { 200: HoldsShown } } },
    async () => ({ holds: [...(await retention.holds())] }),
  );
  fastify.post(
    '/security/audit/holds',
    {
      config: CHANGE,
      schema: {
        summary: 'Keep entries or a person’s detail whatever their age',
        body: HoldRequest,
        response: { 201: Hold },
      },
    },
    async (request, reply) => {
      const { ground, person, fromIndex } = request.body;
      const hold = await retention.hold(
        {
          ground,
          ...(person === undefined ? {} : { person }),
          ...(fromIndex === undefined ? {} : { fromIndex }),
        },
        principalOf(request).role,
      );
      return reply.code(201).send(hold);
    },
  );
  fastify.delete(
    '/security/audit/holds/:id',
    {
      config: CHANGE,
      schema: {
        summary: 'End a hold',
        params: z.strictObject({ id: z.string() }),
        response: { 200: HoldReleased },
      },
    },
    async (request) => {
      const { id } = request.params;
      await retention.release(id, principalOf(request).role);
      return { released: id };
    },
  );
};

export const registerAuditRoutes = (app: HttpApp, options: AuditRouteOptions): void => {
  readRoutes(app, options);
  holdRoutes(app, options);
  const { fastify } = app;
  fastify.post(
    '/security/audit/erase',
    {
      config: CHANGE,
      schema: {
        summary: 'Destroy what the log holds beside its entries about one person',
        body: EraseRequest,
        response: { 200: Erased },
      },
    },
    (request) => options.retention.erase(request.body.person, principalOf(request).role),
  );
  fastify.post(
    '/security/audit/prune',
    {
      config: CHANGE,
      schema: {
        summary: 'Drop entries whose time is over',
        body: PruneRequest,
        response: { 200: PruneShown },
      },
    },
    async (request) => {
      const { dryRun } = request.body;
      const report = await options.retention.prune(principalOf(request).role, dryRun);
      return { dryRun, ...report, heldBy: [...report.heldBy] };
    },
  );
};
