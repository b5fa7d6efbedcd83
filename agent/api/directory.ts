/** The key directory as this site sees it: how far it is confirmed, by whom, what alarms there are, and the end of a lockdown. */
import { Readable } from 'node:stream';
import { z } from 'zod';
import { fingerprintOf, fingerprintPhrase } from '../../shared/directory/record.ts';
import { quorumOf, witnessesOf } from '../../shared/directory/quorum.ts';
import { toQflError } from '../../shared/errors.ts';
import { toBase64 } from '../../shared/bytes.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { Alarm } from '../../shared/wire/alarm.ts';
import type { Store } from '../../shared/store/port.ts';
import { refuseStandstill } from '../federation/standstill.ts';
import type { Federation } from '../federation/federation.ts';

const DirectoryShown = z.strictObject({
  size: z.int(),
  confirmedSize: z.int().nullable(),
  confirmedMs: z.number().nullable(),
  witnesses: z.int(),
  /** So many of the witnesses must have signed. */
  quorum: z.int(),
  /** Null while new questions may rely on it; the error's code otherwise. */
  refusal: z.string().nullable(),
  sites: z.array(
    z.strictObject({
      site: z.string(),
      fingerprint: z.string(),
      revoked: z.boolean(),
      suspended: z.string().nullable(),
    }),
  ),
  /** Since when the coordinator has stopped the federation; null while it goes on. */
  standstill: z.strictObject({ sinceMs: z.number() }).nullable(),
  lockdown: z.strictObject({ kind: z.string(), detail: z.string(), sinceMs: z.number() }).nullable(),
  alarms: z.array(Alarm),
});

const refusalOf = ({ lockdown, mirror, standstill }: Federation): string | null => {
  try {
    lockdown.require();
    refuseStandstill(standstill());
    mirror.requireFresh();
    return null;
  } catch (error) {
    return toQflError(error).code;
  }
};

export const showDirectory = (federation: Federation): z.infer<typeof DirectoryShown> => {
  const { mirror, lockdown } = federation;
  const witnesses = witnessesOf(mirror.state).length;
  const { state } = lockdown;
  return {
    size: mirror.checkpoint.size,
    confirmedSize: mirror.confirmed?.size ?? null,
    confirmedMs: mirror.confirmed?.atMs ?? null,
    witnesses,
    quorum: quorumOf(witnesses),
    refusal: refusalOf(federation),
    sites: [...mirror.state.values()].map(({ site, identity, revokedMs, suspended }) => ({
      site,
      fingerprint: fingerprintPhrase(fingerprintOf(identity)),
      revoked: revokedMs !== undefined,
      suspended: suspended ?? null,
    })),
    standstill: federation.standstill() ?? null,
    lockdown: state === undefined ? null : { kind: state.kind, detail: state.detail, sinceMs: state.sinceMs },
    alarms: [...federation.alarms()],
  };
};

/** Names of the mirrored records in the store. */
const LEAF = /^directory\/\d{12}$/;

/** Every record that this hospital mirrors, base64, one a line: what brings a restored coordinator up to date. */
async function* leafLines(store: Pick<Store, 'list'>): AsyncGenerator<string> {
  for await (const { key, value } of store.list({ prefix: 'directory/' }))
    if (LEAF.test(key)) yield `${toBase64(value)}\n`;
}

export const registerDirectory = (
  { fastify }: HttpApp,
  federation: Federation,
  store: Pick<Store, 'list'>,
): void => {
  fastify.get(
    '/v1/directory/leaves',
    { config: { access: 'status.read' }, schema: { summary: 'The mirrored records of the key directory' } },
    (_request, reply) => reply.type('text/plain; charset=utf-8').send(Readable.from(leafLines(store))),
  );
  fastify.get(
    '/v1/directory',
    { config: { access: 'status.read' }, schema: { response: { 200: DirectoryShown } } },
    () => showDirectory(federation),
  );
  fastify.post(
    '/v1/directory/lockdown/release',
    { config: { access: 'lockdown.release' }, schema: { response: { 200: DirectoryShown } } },
    async (request) => {
      await federation.lockdown.release(principalOf(request).role);
      return showDirectory(federation);
    },
  );
};
