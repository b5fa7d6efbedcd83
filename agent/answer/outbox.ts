/**
 * Questions that cost privacy are kept on disk until they are closed: asked again after a lost connection or a restart, they are the
 * same question and cost nothing more. Closing one destroys its reply key, so that nobody can open its answers later.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { HOUR_MS } from '../../shared/clock.ts';
import { QueryId, SiteId } from '../../shared/ids.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { Receipt } from '../../shared/wire/envelope.ts';
import { StatsResult } from '../../shared/wire/stats.ts';

const OPEN = 'outbox/';
const CLOSED = 'result/';
/** Receipts of other sites, by site and query. Never forgotten: a site that restores an old ledger asks for them. */
const RECEIPT = 'receipt/';
/** How long results can be fetched again. */
export const RESULT_LIFE_MS = 24 * HOUR_MS;

const OpenQuestion = z.strictObject({
  queryId: QueryId,
  /** The sealed question as it goes out, base64; empty when only this site is asked. */
  sealed: z.string(),
  replySeed: z.string(),
  sites: z.array(SiteId),
  /** Named by the asker and not reachable when asked. */
  absent: z.array(SiteId),
  /** This site answers too. */
  here: z.boolean(),
  query: z.unknown(),
  asked: z.string(),
  asker: z.string(),
  role: z.string(),
  department: z.string(),
  confidence: z.number(),
  expiresMs: z.int(),
});
export type OpenQuestion = z.infer<typeof OpenQuestion>;

const Closed = z.strictObject({ atMs: z.int(), asker: z.string(), result: StatsResult });

export interface Outbox {
  add(question: OpenQuestion): Promise<void>;
  open(): Promise<OpenQuestion[]>;
  /** Keeps the result and the receipts and destroys the question with its reply key, in one write. */
  close(question: OpenQuestion, result: StatsResult, receipts: readonly Receipt[]): Promise<void>;
  /** Receipts that a site signed for this one's questions, in order of query id. */
  receipts(site: SiteId): AsyncIterable<Receipt>;
  /** Drops a question that can get no answer any more. */
  drop(queryId: QueryId): Promise<void>;
  /** The result of a closed question of this asker. */
  result(queryId: QueryId, asker: string): Promise<StatsResult | undefined>;
  forgetOld(): Promise<void>;
}

export const createOutbox = (store: Store, clock: Clock): Outbox => {
  /** Undefined for what an earlier version of this program wrote: it is forgotten, its charge stays. */
  const read = <T>(schema: z.ZodType<T>, value: Uint8Array): T | undefined =>
    schema.safeParse(JSON.parse(fromUtf8(value))).data;
  const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
  return {
    add: (question) =>
      store.write([{ type: 'put', key: OPEN + question.queryId, value: json(OpenQuestion.parse(question)) }]),
    async open() {
      const found: OpenQuestion[] = [];
      for await (const { value } of store.list({ prefix: OPEN })) {
        const question = read(OpenQuestion, value);
        if (question !== undefined) found.push(question);
      }
      return found;
    },
    async *receipts(site) {
      for await (const { value } of store.list({ prefix: `${RECEIPT}${site}/` }))
        yield Receipt.parse(JSON.parse(fromUtf8(value)));
    },
    close: ({ queryId, asker }, result, receipts) =>
      store.write([
        ...receipts.map((receipt) => ({
          type: 'put' as const,
          key: `${RECEIPT}${receipt.site}/${queryId}`,
          value: json(receipt),
        })),
        { type: 'del', key: OPEN + queryId },
        {
          type: 'put',
          key: CLOSED + queryId,
          value: json({ atMs: Math.trunc(clock.nowMs()), asker, result }),
        },
      ]),
    drop: (queryId) => store.write([{ type: 'del', key: OPEN + queryId }]),
    async result(queryId, asker) {
      const value = await store.get(CLOSED + queryId);
      const closed = value === undefined ? undefined : read(Closed, value);
      return closed?.asker === asker ? closed.result : undefined;
    },
    async forgetOld() {
      const gone: StoreOperation[] = [];
      for await (const { key, value } of store.list({ prefix: CLOSED }))
        if ((read(Closed, value)?.atMs ?? 0) + RESULT_LIFE_MS < clock.nowMs())
          gone.push({ type: 'del', key });
      for await (const { key, value } of store.list({ prefix: OPEN }))
        if (read(OpenQuestion, value) === undefined) gone.push({ type: 'del', key });
      if (gone.length > 0) await store.write(gone);
    },
  };
};
