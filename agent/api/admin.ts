/** What the site's administrators, and commands on the machine itself, may do: keys, imports, opt-outs. */
import { Readable } from 'node:stream';
import { z } from 'zod';
import type { Actor } from '../../shared/access/actor.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { AuditOutcome } from '../../shared/audit/entry.ts';
import { systemClock } from '../../shared/clock.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { ApiKeys } from '../../shared/http/api-keys.ts';
import { RoleName } from '../../shared/http/role-name.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { DepartmentId, SiteId } from '../../shared/ids.ts';
import { DataClass } from '../../shared/wire/envelope.ts';
import type { Pseudonyms } from '../access/pseudonyms.ts';
import type { AgentHome } from '../home.ts';
import type { Outbox } from '../answer/outbox.ts';
import { importCsv } from '../records/import-csv.ts';
import { importFolder, type ImportProgress } from '../records/import-fhir.ts';
import { CsvSchema } from '../../shared/wire/csv-schema.ts';
import { importDocuments } from '../retrieval/import-documents.ts';

export interface AdminOptions {
  readonly home: AgentHome;
  readonly outbox: Pick<Outbox, 'receipts'>;
  readonly apiKeys: ApiKeys;
  readonly pseudonyms: Pseudonyms;
  readonly roles: ReadonlySet<string>;
  /** Of keys made without one. */
  readonly defaultDataClass: DataClass;
}

export const KeyRequest = z.strictObject({
  name: z.string().min(1).max(100),
  role: RoleName,
  department: DepartmentId,
  dataClass: DataClass.optional(),
  expiresMs: z.int().positive().optional(),
});

/** @throws QflError `invalid_request` for a role that no table knows */
export const checkRole = (roles: ReadonlySet<string>, role: string): void => {
  if (!roles.has(role))
    throw new QflError('invalid_request', {
      detail: `there is no role "${role}"`,
      next: `Choose one of ${[...roles].toSorted().join(', ')}.`,
    });
};

const keyRoutes = ({ fastify }: HttpApp, options: AdminOptions): void => {
  const { home, apiKeys, roles, defaultDataClass, pseudonyms } = options;
  const reads = { access: 'keys.read' } as const;
  const changes = { access: 'keys.change' } as const;
  fastify.post(
    '/v1/admin/keys',
    { config: changes, schema: { body: KeyRequest } },
    async (request, reply) => {
      checkRole(roles, request.body.role);
      const { expiresMs, dataClass = defaultDataClass, ...rest } = request.body;
      await home.audit.record({
        action: 'key.created',
        outcome: 'begun',
        ...pseudonyms.actorOf(principalOf(request)),
        objects: [
          { kind: 'role', id: rest.role },
          { kind: 'department', id: rest.department },
        ],
      });
      const made = await apiKeys.mint({
        ...rest,
        dataClass,
        ...(expiresMs === undefined ? {} : { expiresMs }),
      });
      return reply.code(201).send(made);
    },
  );
  fastify.get('/v1/admin/keys', { config: reads }, async () => ({ keys: await apiKeys.list() }));
  fastify.delete(
    '/v1/admin/keys/:id',
    { config: changes, schema: { params: z.strictObject({ id: z.string() }) } },
    async (request) => {
      // An id that somebody made up is not written into the log.
      const { id } = await apiKeys.get(request.params.id);
      await home.audit.record({
        action: 'key.revoked',
        outcome: 'begun',
        ...pseudonyms.actorOf(principalOf(request)),
        objects: [{ kind: 'key', id }],
      });
      return apiKeys.revoke(id);
    },
  );
};

/** Progress as it comes, then the result: one JSON object a line. */
const progressStream = (
  run: (tell: (progress: ImportProgress) => void, signal: AbortSignal) => Promise<object>,
): Readable => {
  const abort = new AbortController();
  const out = new Readable({
    read: () => undefined,
    destroy: (error, done) => {
      abort.abort();
      done(error);
    },
  });
  const line = (value: object): void => void out.push(`${JSON.stringify(value)}\n`);
  run((progress) => line({ kind: 'progress', ...progress }), abort.signal)
    .then((result) => line({ kind: 'result', ...result }))
    .catch((thrown: unknown) => {
      const { code, detail, next } = toQflError(thrown);
      line({ kind: 'error', code, detail: detail ?? null, next: next ?? null });
    })
    .finally(() => void out.push(null));
  return out;
};

const ImportAsked = z.strictObject({
  /** Or a table, where there is a schema. */
  folder: z.string().min(1),
  documents: z.boolean().default(false),
  schema: CsvSchema.optional(),
});
export type ImportAsked = z.infer<typeof ImportAsked>;

/** Records and documents of a folder, or records of a table, logged before and after. */
export const importAll = async (
  home: { audit: AuditLog } & Pick<AgentHome, 'records' | 'documents'>,
  request: ImportAsked,
  by: Partial<Actor>,
  tell: (progress: ImportProgress) => void,
  signal: AbortSignal,
): Promise<object> => {
  const log = (outcome: AuditOutcome) => home.audit.record({ action: 'records.imported', outcome, ...by });
  await log('begun');
  try {
    const { folder: path, documents, schema } = request;
    const today = new Date(systemClock.nowMs()).toISOString().slice(0, 10);
    const result = documents
      ? await importDocuments(home.documents, path, { signal })
      : schema === undefined
        ? await importFolder(home.records, path, { onProgress: tell, signal })
        : await importCsv(home.records, { file: path, schema, today }, { onProgress: tell, signal });
    await log('ok');
    return result;
  } catch (error) {
    await log('failed');
    throw error;
  }
};

const importRoutes = ({ fastify }: HttpApp, { home, pseudonyms }: AdminOptions): void => {
  let importing = false;
  const schema = { body: ImportAsked };
  fastify.post('/v1/admin/import', { config: { access: 'machine.files' }, schema }, (request, reply) => {
    if (importing)
      throw new QflError('conflict', {
        detail: 'an import is under way',
        next: 'Wait for it, or stop it, and try again.',
      });
    importing = true;
    const stream = progressStream((tell, signal) =>
      importAll(home, request.body, pseudonyms.actorOf(principalOf(request)), tell, signal).finally(
        () => (importing = false),
      ),
    );
    return reply.type('application/x-ndjson').send(stream);
  });
  fastify.post(
    '/v1/admin/opt-outs',
    {
      config: { access: 'records.change' },
      schema: {
        body: z.strictObject({ patient: z.string().min(1).max(200), optedOut: z.boolean().default(true) }),
      },
    },
    async (request) => {
      const { patient, optedOut } = request.body;
      await home.audit.record({
        action: 'records.erased',
        outcome: 'begun',
        ...pseudonyms.actorOf(principalOf(request)),
      });
      if (optedOut) await home.records.optOut(patient);
      else await home.records.withdrawOptOut(patient);
      return { optedOut };
    },
  );
};

/** What other sites signed for this site's questions: a site that restores an old ledger asks its peers for these. */
const receiptRoutes = ({ fastify }: HttpApp, { outbox }: AdminOptions): void => {
  const schema = { querystring: z.strictObject({ site: SiteId }) };
  fastify.get('/v1/admin/receipts', { config: { access: 'receipts.read' }, schema }, (request, reply) => {
    const lines = async function* (): AsyncGenerator<string> {
      for await (const receipt of outbox.receipts(request.query.site)) yield `${JSON.stringify(receipt)}\n`;
    };
    return reply.type('application/x-ndjson').send(Readable.from(lines()));
  });
};

export const registerAdmin = (app: HttpApp, options: AdminOptions): void => {
  receiptRoutes(app, options);
  keyRoutes(app, options);
  importRoutes(app, options);
};
