/** What a connected site may call. A pending site hears how it stands, nothing more. */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { framed, fromUtf8, toBase64, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Identity } from '../../shared/crypto/signature.ts';
import { readEnvelope, decodeSealedQuery } from '../../shared/crypto/sealed-query.ts';
import { requireSite } from '../../shared/directory/chain.ts';
import { parseLeaf, Signature } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import { checkAlarm } from '../../shared/wire/alarm.ts';
import type { Call, Handler, Handlers, Reply } from '../../shared/wire/peer.ts';
import {
  LEAVES_PER_REPLY_MAX,
  LeavesRequest,
  METHODS,
  SignedTime,
  Telemetry,
  TIME_LABEL,
  timeMessage,
} from '../../shared/wire/session.ts';
import { LedgerHeadRequest } from '../../shared/wire/ledger-head.ts';
import { z } from 'zod';
import { asTask } from '../relay/as-task.ts';
import type { TaskLedger } from '../tasks/ledger.ts';
import type { Recoveries } from '../directory/recoveries.ts';
import type { BoardTeller } from './board.ts';
import type { KeyLog } from '../directory/key-log.ts';
import type { LedgerHeads } from './ledger-heads.ts';
import type { Connection, Presence } from './presence.ts';
import type { Registry } from './registry.ts';

type Answer = (call: Call, asker: SiteId) => AsyncGenerator<Reply>;

export interface HandlerOptions {
  readonly registry: Registry;
  readonly presence: Presence;
  readonly keyLog: KeyLog;
  readonly identity: Identity;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly tasks: TaskLedger;
  readonly relayChat: Answer;
  readonly collectStatistics: Answer;
  readonly board: BoardTeller;
  readonly ledgerHeads: LedgerHeads;
  readonly recoveries: Recoveries;
  /** Calls of sealed rounds, by method. */
  readonly roundCalls: Readonly<Record<string, (call: Call, site: SiteId) => Promise<Reply>>>;
  /** The directory's newest checkpoint with cosignatures. */
  confirmedDirectory(): string | undefined;
}

const parse = <T>(schema: z.ZodType<T>, value: unknown): T => {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new QflError('protocol', { detail: 'a call with a wrong header' });
  return parsed.data;
};

/** An alarm is an entry in the log and a message to everybody: not more often than this from one connection. */
const ALARM_PAUSE_MS = 1_000;
/** Time for a reply to leave before its connection ends. */
const END_AFTER_MS = 500;
const TimeRequest = z.strictObject({ nonce: SignedTime.shape.nonce });

export const siteHandlers =
  (options: HandlerOptions) =>
  (site: SiteId, connection: () => Connection): Handlers => {
    const { registry, presence, keyLog, identity, audit, clock, ledgerHeads: heads } = options;
    let lastAlarmMs: number | undefined;
    const approved = (): void => {
      const { status } = registry.get(site);
      if (status !== 'approved')
        throw new QflError('forbidden', {
          detail: `${site} is ${status}`,
          next: `The federation's operator approves it with "qfl site approve ${site}".`,
        });
    };
    const plain = (answer: (call: Call) => Promise<Reply>): Handler => ({
      kind: 'plain',
      answer(call) {
        approved();
        return answer(call);
      },
    });
    const leaves = async (call: Call): Promise<Reply> => {
      const { from } = parse(LeavesRequest, call.header);
      const checkpoint = await keyLog.log.checkpoint();
      const found: Uint8Array[] = [];
      for await (const { leaf } of keyLog.log.entries(from, from + LEAVES_PER_REPLY_MAX)) found.push(leaf);
      return { header: { checkpoint, next: from + found.length }, payload: framed(...found) };
    };
    /** After the reply has left: whoever still has the old keys is out, and the site comes back under the new ones. */
    const endSoon = (): void =>
      void setTimeout(
        () => presence.disconnect(site, new QflError('key_changed', { detail: `${site} has new keys` })),
        END_AFTER_MS,
      ).unref();
    const publish = async (call: Call): Promise<Reply> => {
      const { record } = parseLeaf(call.payload);
      if (record.kind === 'revoke' && record.by !== site)
        throw new QflError('forbidden', { detail: 'a site revokes only itself' });
      await audit.record({
        action: 'key.rotated',
        outcome: 'begun',
        objects: [
          { kind: 'site', id: site },
          { kind: 'record', id: record.kind },
        ],
      });
      const index = await keyLog.publish(site, call.payload);
      if (record.kind === 'rotate' && record.emergency === true) endSoon();
      return { header: { index } };
    };
    /** Passed on as it came: the site's signature is what counts, and nobody repeats another's. */
    const alarm = async (call: Call): Promise<Reply> => {
      const nowMs = clock.monotonicMs();
      if (nowMs - (lastAlarmMs ?? -Infinity) < ALARM_PAUSE_MS)
        throw new QflError('rate_limited', { detail: 'alarms come too often' });
      lastAlarmMs = nowMs;
      const { site: from, kind } = checkAlarm(
        call.header,
        (name) => requireSite(keyLog.state, name, clock.nowMs()).identity,
      );
      if (from !== site)
        throw new QflError('forbidden', { detail: `an alarm of ${from} cannot come from ${site}` });
      await audit.record({
        action: 'directory.alarm',
        outcome: 'ok',
        objects: [
          { kind: 'site', id: site },
          { kind: 'reason', id: kind },
        ],
      });
      for (const other of presence.online())
        if (other !== site && registry.get(other).status === 'approved')
          presence.of(other)?.peer.notify(METHODS.alarm, { header: call.header });
      return {};
    };
    async function* query(call: Call): AsyncGenerator<Reply> {
      approved();
      const envelope = readEnvelope(decodeSealedQuery(call.payload).header);
      const answer = envelope.kind === 'chat' ? options.relayChat : options.collectStatistics;
      yield* asTask(options.tasks, envelope, site, answer(call, site), call.signal);
    }

    return {
      [METHODS.hello]: {
        kind: 'plain',
        answer: () =>
          Promise.resolve({
            header: {
              status: registry.get(site).status === 'approved' ? 'approved' : 'pending',
              directorySize: keyLog.log.size,
            },
          }),
      },
      [METHODS.leaves]: plain(leaves),
      [METHODS.publish]: plain(publish),
      [METHODS.directoryCheckpoint]: plain(() => {
        const note = options.confirmedDirectory();
        return Promise.resolve(note === undefined ? {} : { payload: utf8(note) });
      }),
      [METHODS.recovery]: plain(async ({ header, payload }) => {
        const signature = parse(Signature, header);
        return { header: await options.recoveries.approve(site, fromUtf8(payload), signature) };
      }),
      [METHODS.alarm]: plain(alarm),
      [METHODS.time]: plain((call) => {
        const { nonce } = parse(TimeRequest, call.header);
        const timeMs = Math.trunc(clock.nowMs());
        return Promise.resolve({
          header: {
            nonce,
            timeMs,
            signature: toBase64(identity.sign(TIME_LABEL, timeMessage(nonce, timeMs))),
          },
        });
      }),
      [METHODS.ledgerHead]: plain(async (call) => {
        const { signed } = parse(LedgerHeadRequest, call.header);
        const newest = signed === null ? await heads.newest(site) : await heads.take(site, signed);
        return { header: { newest: newest ?? null } };
      }),
      [METHODS.telemetry]: {
        kind: 'event',
        accept: ({ header }) => presence.report(connection(), parse(Telemetry, header)),
      },
      [METHODS.query]: { kind: 'stream', answer: query },
      ...Object.fromEntries(
        Object.entries(options.roundCalls).map(([method, answer]) => [
          method,
          plain((call) => answer(call, site)),
        ]),
      ),
    };
  };
