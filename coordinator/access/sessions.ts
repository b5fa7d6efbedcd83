/**
 * Sign-ins. A session ends after eight hours whatever happens, and after half an hour without a request; its refresh token works once and brings the
 * next (RFC 9700, section 4.14). An old one that is shown again was copied by somebody: the whole session ends.
 */
import { createHmac } from 'node:crypto';
import { z } from 'zod';
import { equalConstantTime, fromHex, toBase64Url, toHex, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { AccountId, SessionId } from '../../shared/ids.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import { createSerial } from '../../shared/serial.ts';
import type { Store } from '../../shared/store/port.ts';
import { createRecordStore } from '../../shared/store/records.ts';

export const Session = z.strictObject({
  id: SessionId,
  account: AccountId,
  /** How it began: `password`, `password+totp`, or the name of an identity provider. */
  method: z.string().max(80),
  createdMs: z.int(),
  expiresMs: z.int(),
  /** Last refresh; requests in between count in memory. */
  usedMs: z.int(),
  /** How many refreshes there were; only the newest token works. */
  generation: z.int().nonnegative(),
  /** Hex of 32 bytes from which its refresh tokens are made. */
  key: z.string().regex(/^[0-9a-f]{64}$/),
});
export type Session = z.infer<typeof Session>;

export interface SessionRules {
  readonly lifeMs: number;
  readonly idleMs: number;
  readonly refreshLifeMs: number;
}

export interface RefreshToken {
  readonly token: string;
  readonly expiresMs: number;
}

export interface Sessions {
  /** How often all sessions of this account were ended at once so far. */
  endings(account: AccountId): number;
  /**
   * @param endings as they were when the sign-in began: whoever was let in before an ending must not come in after it
   * @throws QflError `unauthenticated` when the sessions of the account were ended meanwhile
   */
  begin(
    account: AccountId,
    method: string,
    endings?: number,
  ): Promise<{ readonly session: Session; readonly refresh: RefreshToken }>;
  /** The session while it is alive; counts as use. */
  use(id: SessionId): Session | undefined;
  /**
   * The next refresh token.
   * @throws QflError `unauthenticated`; `reused` is called first when an old token was shown
   */
  refresh(
    token: string,
    reused: (session: Session) => Promise<void>,
  ): Promise<{ readonly session: Session; readonly refresh: RefreshToken }>;
  end(id: SessionId): Promise<void>;
  /** @param except goes on: the one in which its owner asked for it. @returns how many ended */
  endAll(account?: AccountId, except?: SessionId): Promise<number>;
  list(account?: AccountId): readonly Session[];
}

export const SESSIONS_PER_ACCOUNT_MAX = 20;
const TOKEN = /^qflr_([0-9a-f]{32})_(\d{1,9})_([A-Za-z0-9_-]{43})$/;

const refused = (): QflError =>
  new QflError('unauthenticated', {
    detail: 'The refresh token is not accepted.',
    next: 'Sign in again: "qfl login".',
  });

const endedMeanwhile = (): QflError =>
  new QflError('unauthenticated', {
    detail: 'The sessions of this account were ended while this one began.',
    next: 'Sign in again: "qfl login".',
  });

const macOf = ({ id, key }: Session, generation: number): Uint8Array =>
  createHmac('sha256', fromHex(key))
    .update(utf8(`refresh ${id} ${generation}`))
    .digest();

export const openSessions = async (
  store: Store,
  clock: Pick<Clock, 'nowMs'>,
  random: RandomBytes,
  rules: () => SessionRules,
): Promise<Sessions> => {
  const records = createRecordStore(store, 'session/', Session);
  const alive = new Map<SessionId, Session>();
  const usedMs = new Map<SessionId, number>();
  for await (const session of records.list()) alive.set(session.id, session);
  const endings = { all: 0, of: new Map<AccountId, number>() };
  const endingsOf = (account: AccountId): number => endings.all + (endings.of.get(account) ?? 0);
  /** One write after another, in the order of what is in memory: a record that was ended is not put back by a write from before. */
  const inTurn = createSerial();

  const isOver = (session: Session): boolean => {
    const nowMs = clock.nowMs();
    const used = Math.max(session.usedMs, usedMs.get(session.id) ?? 0);
    return nowMs >= session.expiresMs || nowMs - used > rules().idleMs;
  };
  const forget = async (ids: readonly SessionId[]): Promise<void> => {
    for (const id of ids) {
      alive.delete(id);
      usedMs.delete(id);
    }
    if (ids.length > 0) await inTurn(() => store.write(ids.map((id) => records.deleting(id))));
  };
  const sweep = (): Promise<void> => forget([...alive.values()].filter(isOver).map(({ id }) => id));
  await sweep();

  const refreshOf = (session: Session): RefreshToken => ({
    token: `qflr_${session.id}_${session.generation}_${toBase64Url(macOf(session, session.generation))}`,
    expiresMs: Math.min(session.expiresMs, session.usedMs + rules().refreshLifeMs),
  });
  /** In memory first, so that whatever ends sessions meanwhile finds this one. @throws QflError when it was ended before it was kept */
  const keep = async (session: Session, ended: () => QflError): Promise<Session> => {
    const before = alive.get(session.id);
    alive.set(session.id, session);
    try {
      await inTurn(() => records.put(session.id, session));
    } catch (error) {
      if (before === undefined || !alive.has(session.id)) alive.delete(session.id);
      else alive.set(session.id, before);
      throw error;
    }
    if (!alive.has(session.id)) throw ended();
    return session;
  };
  const list = (account?: AccountId): readonly Session[] =>
    [...alive.values()]
      .filter((session) => (account === undefined || session.account === account) && !isOver(session))
      .map((session) => ({ ...session, usedMs: Math.max(session.usedMs, usedMs.get(session.id) ?? 0) }))
      .toSorted((a, b) => a.createdMs - b.createdMs);

  return {
    endings: endingsOf,
    async begin(account, method, before = endingsOf(account)) {
      await sweep();
      const own = list(account);
      await forget(own.slice(0, Math.max(0, own.length - SESSIONS_PER_ACCOUNT_MAX + 1)).map(({ id }) => id));
      if (endingsOf(account) !== before) throw endedMeanwhile();
      const nowMs = Math.trunc(clock.nowMs());
      const made: Session = {
        id: SessionId.parse(randomHex(random, 16)),
        account,
        method,
        createdMs: nowMs,
        expiresMs: nowMs + rules().lifeMs,
        usedMs: nowMs,
        generation: 0,
        key: toHex(random(32)),
      };
      const session = await keep(made, endedMeanwhile);
      return { session, refresh: refreshOf(session) };
    },
    use(id) {
      const session = alive.get(id);
      if (session === undefined || isOver(session)) return undefined;
      usedMs.set(id, Math.trunc(clock.nowMs()));
      return session;
    },
    async refresh(token, reused) {
      const [, id, generationText, mac] = TOKEN.exec(token) ?? [];
      const session = alive.get(SessionId.safeParse(id).data ?? ('' as SessionId));
      if (session === undefined || mac === undefined || isOver(session)) throw refused();
      const generation = Number(generationText);
      if (!equalConstantTime(macOf(session, generation), Buffer.from(mac, 'base64url'))) throw refused();
      if (generation !== session.generation) {
        await reused(session);
        await forget([session.id]);
        throw refused();
      }
      if (clock.nowMs() >= refreshOf(session).expiresMs) throw refused();
      const next: Session = { ...session, generation: generation + 1, usedMs: Math.trunc(clock.nowMs()) };
      // In memory before anything is waited for: two requests with one token must not both get the next.
      await keep(next, refused);
      return { session: next, refresh: refreshOf(next) };
    },
    end: (id) => forget([id]),
    async endAll(account, except) {
      if (account === undefined) endings.all += 1;
      else endings.of.set(account, (endings.of.get(account) ?? 0) + 1);
      const ids = [...alive.values()]
        .filter((session) => account === undefined || session.account === account)
        .map(({ id }) => id)
        .filter((id) => id !== except);
      await forget(ids);
      return ids.length;
    },
    list,
  };
};
