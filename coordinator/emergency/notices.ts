/**
 * Notices to people and systems outside: signed webhooks (the Standard Webhooks form: HMAC-SHA256 over id, time and body) and e-mail over SMTP. A notice
 * is on the disk before anybody relies on it, and is tried again until it is taken or a day has passed. It never holds content or names.
 */
import { createHmac } from 'node:crypto';
import { createTransport } from 'nodemailer';
import { request } from 'undici';
import { z } from 'zod';
import { utf8 } from '../../shared/bytes.ts';
import { type Clock, HOUR_MS, SECOND_MS } from '../../shared/clock.ts';
import type { CoordinatorConfig } from '../../shared/config/config.ts';
import { toQflError } from '../../shared/errors.ts';
import { isLoopback } from '../../shared/http/tls.ts';
import type { Logger } from '../../shared/log.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { Store } from '../../shared/store/port.ts';
import { createRecordStore } from '../../shared/store/records.ts';
import type { NoticeShown } from '../../shared/wire/emergency.ts';

const Target = z.strictObject({
  kind: z.enum(['webhook', 'smtp']),
  /** URL, or host and port: found again in the configuration. */
  address: z.string(),
  attempts: z.int(),
  nextMs: z.int(),
  deliveredMs: z.int().nullable(),
  failedMs: z.int().nullable(),
  lastError: z.string().nullable(),
});
type Target = z.infer<typeof Target>;
const Notice = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{32}$/),
  kind: z.string().max(60),
  subject: z.string().max(200),
  text: z.string().max(4_000),
  facts: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  createdMs: z.int(),
  targets: z.array(Target),
});
type Notice = z.infer<typeof Notice>;

export interface NoticeRequest {
  readonly kind: string;
  readonly subject: string;
  readonly text: string;
  readonly facts?: Readonly<Record<string, string | number | boolean | null>>;
}

export interface Notices {
  /** Keeps it and begins to send. */
  send(notice: NoticeRequest): Promise<void>;
  /** Newest first. */
  list(): readonly z.infer<typeof NoticeShown>[];
  /** Does what is due; production's timer calls it. */
  tick(): Promise<void>;
  close(): void;
}

export interface NoticeOptions {
  readonly store: Store;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly federation: string;
  readonly settings: () => CoordinatorConfig['notifications'];
  readonly env: Readonly<Record<string, string | undefined>>;
}

const KEPT_MAX = 500;
const FIRST_RETRY_MS = 5 * SECOND_MS;
const RETRY_MAX_MS = HOUR_MS;
const GIVEN_UP_MS = 24 * HOUR_MS;
const TIMEOUT_MS = 10 * SECOND_MS;
const TICK_MS = SECOND_MS;

/** Doubles from five seconds to an hour. */
export const retryDelayMs = (attempts: number): number =>
  Math.min(RETRY_MAX_MS, FIRST_RETRY_MS * 2 ** Math.min(20, attempts - 1));

const SECRET_PREFIX = 'whsec_';

/**
 * The bytes that sign. The Standard Webhooks form, `whsec_` and base64, stands for the bytes it encodes: whoever verifies with a library of that standard
 * decodes it. Any other text is its own bytes.
 * @throws Error when what follows `whsec_` is not base64
 */
const signingKey = (secret: string): Uint8Array => {
  if (!secret.startsWith(SECRET_PREFIX)) return utf8(secret);
  const text = secret.slice(SECRET_PREFIX.length);
  const key = Buffer.from(text, 'base64');
  // Node skips what is no base64: a secret that was cut or mistyped must not become a shorter one in silence.
  if (key.length === 0 || key.toString('base64').replace(/=+$/, '') !== text.replace(/=+$/, ''))
    throw new Error('its secret begins with whsec_ and is not base64 after that');
  return key;
};

/** `v1,` and base64 of HMAC-SHA256 over `id.seconds.body`. @throws Error as `signingKey` */
export const webhookSignature = (secret: string, id: string, seconds: number, body: string): string =>
  `v1,${createHmac('sha256', signingKey(secret)).update(`${id}.${seconds}.${body}`).digest('base64')}`;

const hostOf = (address: string): string => (URL.canParse(address) ? new URL(address).host : address);

export const openNotices = async (options: NoticeOptions): Promise<Notices> => {
  const { store, clock, random, logger, federation, settings, env } = options;
  const records = createRecordStore(store, 'notice/', Notice);
  const known = new Map<string, Notice>();
  for await (const notice of records.list()) known.set(notice.id, notice);
  const nowMs = (): number => Math.trunc(clock.nowMs());
  let isTicking = false;

  const targetsNow = (): Target[] => {
    const { webhooks, smtp } = settings();
    const target = (kind: Target['kind'], address: string): Target => ({
      kind,
      address,
      attempts: 0,
      nextMs: nowMs(),
      deliveredMs: null,
      failedMs: null,
      lastError: null,
    });
    return [
      ...webhooks.map(({ url }) => target('webhook', url)),
      ...(smtp === null ? [] : [target('smtp', `${smtp.host}:${smtp.port}`)]),
    ];
  };

  const postWebhook = async (notice: Notice, address: string): Promise<void> => {
    const webhook = settings().webhooks.find(({ url }) => url === address);
    if (webhook === undefined) throw new Error('it is no longer configured');
    const { id, kind, subject, text, facts, createdMs } = notice;
    const body = JSON.stringify({ id, type: kind, federation, subject, text, facts, createdMs });
    const seconds = Math.floor(clock.nowMs() / SECOND_MS);
    const secret = webhook.secretEnv === null ? undefined : env[webhook.secretEnv];
    if (webhook.secretEnv !== null && (secret === undefined || secret === ''))
      throw new Error(`the variable ${webhook.secretEnv} with its secret is not set`);
    const answer = await request(address, {
      method: 'POST',
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(seconds),
        ...(secret === undefined ? {} : { 'webhook-signature': webhookSignature(secret, id, seconds, body) }),
      },
      body,
    });
    await answer.body.dump();
    if (answer.statusCode >= 300) throw new Error(`it answered ${answer.statusCode}`);
  };

  const mail = async ({ id, subject, text }: Notice): Promise<void> => {
    const { smtp } = settings();
    if (smtp === null || smtp.to.length === 0) throw new Error('no recipient is configured');
    const user = smtp.userEnv === null ? undefined : env[smtp.userEnv];
    const pass = smtp.passwordEnv === null ? undefined : env[smtp.passwordEnv];
    const transport = createTransport({
      host: smtp.host,
      port: smtp.port,
      secure: smtp.tls,
      // In clear only to this machine.
      requireTLS: !smtp.tls && !isLoopback(smtp.host),
      connectionTimeout: TIMEOUT_MS,
      greetingTimeout: TIMEOUT_MS,
      socketTimeout: TIMEOUT_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
      ...(user === undefined ? {} : { auth: { user, pass: pass ?? '' } }),
    });
    try {
      await transport.sendMail({
        from: smtp.from ?? `qfl-${federation}@localhost`,
        to: [...smtp.to],
        subject,
        text,
        messageId: `<${id}@${federation}.qfl>`,
      });
    } finally {
      transport.close();
    }
  };

  const attempt = async (notice: Notice, target: Target): Promise<Target> => {
    const attempts = target.attempts + 1;
    try {
      await (target.kind === 'webhook' ? postWebhook(notice, target.address) : mail(notice));
      return { ...target, attempts, deliveredMs: nowMs(), lastError: null };
    } catch (error) {
      const lastError = (error instanceof Error ? error.message : 'it failed').slice(0, 200);
      const isOver = nowMs() - notice.createdMs >= GIVEN_UP_MS;
      logger.warn(
        { notice: notice.kind, host: hostOf(target.address), attempts, isOver },
        'a notice was not taken',
      );
      return {
        ...target,
        attempts,
        lastError,
        nextMs: nowMs() + retryDelayMs(attempts),
        failedMs: isOver ? nowMs() : null,
      };
    }
  };
  const isDue = ({ deliveredMs, failedMs, nextMs }: Target): boolean =>
    deliveredMs === null && failedMs === null && nextMs <= nowMs();

  /** In memory first: what was sent, or has to wait, is so even when the disk does not take it, or each tick would send it again. */
  const remember = async (notice: Notice): Promise<void> => {
    if (!known.has(notice.id)) return;
    known.set(notice.id, notice);
    try {
      await records.put(notice.id, notice);
    } catch (error) {
      // After a restart it may come a second time; its id is the same.
      logger.error(
        { err: toQflError(error), notice: notice.kind },
        'that a notice was tried could not be kept',
      );
    }
  };

  const tick = async (): Promise<void> => {
    if (isTicking) return;
    isTicking = true;
    try {
      for (const notice of known.values()) {
        if (!notice.targets.some(isDue)) continue;
        const targets = await Promise.all(
          notice.targets.map((target) => (isDue(target) ? attempt(notice, target) : Promise.resolve(target))),
        );
        await remember({ ...notice, targets });
      }
    } finally {
      isTicking = false;
    }
  };
  const ticking = setInterval(() => {
    tick().catch((error: unknown) => logger.error({ err: toQflError(error) }, 'notices could not be sent'));
  }, TICK_MS);
  ticking.unref();

  const byAge = (): Notice[] => [...known.values()].toSorted((a, b) => b.createdMs - a.createdMs);
  return {
    async send({ kind, subject, text, facts = {} }) {
      const notice: Notice = {
        id: randomHex(random, 16),
        kind,
        subject: `[qfl ${federation}] ${subject}`,
        text: `${text}\n\nTime: ${new Date(nowMs()).toISOString()}\nFederation: ${federation}\n`,
        facts: { ...facts },
        createdMs: nowMs(),
        targets: targetsNow(),
      };
      const gone = byAge().slice(KEPT_MAX);
      await store.write([records.putting(notice.id, notice), ...gone.map(({ id }) => records.deleting(id))]);
      for (const { id } of gone) known.delete(id);
      known.set(notice.id, notice);
      void tick().catch(() => undefined);
    },
    list: () =>
      byAge().map(({ id, kind, subject, createdMs, targets }) => ({
        id,
        kind,
        subject,
        createdMs,
        targets: targets.map(({ kind: by, address, attempts, deliveredMs, failedMs, lastError }) => ({
          kind: by,
          host: hostOf(address),
          attempts,
          deliveredMs,
          failedMs,
          lastError,
        })),
      })),
    tick,
    close: () => clearInterval(ticking),
  };
};
