/** What a site is told when the sum is open: its vector may go. Kept until every site of the round has it, or an hour long. */
import { setMaxListeners } from 'node:events';
import { z } from 'zod';
import { fromUtf8, toBase64, toHex, utf8 } from '../../shared/bytes.ts';
import { type Clock, HOUR_MS } from '../../shared/clock.ts';
import { RoundId, SiteId } from '../../shared/ids.ts';
import { LABELS } from '../../shared/rounds/fields.ts';
import { receiptBytes, type RoundReceipt, SignedReceipt } from '../../shared/rounds/messages.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { METHODS } from '../../shared/wire/session.ts';
import type { Ask } from './ask.ts';
import type { Live } from './live.ts';
import { survivorsHash } from './round.ts';

const PREFIX = 'round-receipt/';
/** A site that has not taken it by then forgets the round by itself. */
const GIVEN_MAX_MS = HOUR_MS;

const Pending = z.strictObject({ sites: z.array(SiteId), signed: SignedReceipt });
export type PendingReceipt = z.infer<typeof Pending>;

export interface Receipts {
  /** Of a round whose sum is open. */
  of(round: Live): PendingReceipt;
  /** To be written in one with the end of the round. */
  keeping(id: RoundId, receipt: PendingReceipt): StoreOperation;
  /** To every site, whenever it is there; then it is forgotten, unless the program ends. */
  give(id: RoundId, receipt: PendingReceipt): Promise<void>;
  /** Kept and not given yet. */
  pending(): AsyncIterable<readonly [RoundId, PendingReceipt]>;
}

export interface ReceiptsOptions {
  readonly store: Store;
  readonly ask: Ask;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly sign: (label: string, bytes: Uint8Array) => Uint8Array;
  /** Aborted when the program ends. */
  readonly stop: AbortSignal;
}

export const createReceipts = ({ store, ask, clock, sign, stop }: ReceiptsOptions): Receipts => ({
  of({ plan, state }) {
    const receipt: RoundReceipt = {
      plan: toHex(plan.hash),
      survivors: toHex(survivorsHash(state)),
      sumHash: state.sumHash!,
      modelHash: null,
      atMs: Math.trunc(clock.nowMs()),
    };
    const signature = toBase64(sign(LABELS.receipt, receiptBytes(receipt)));
    return { sites: [...plan.plan.sites], signed: { receipt, signature } };
  },
  keeping: (id, receipt) => ({ type: 'put', key: PREFIX + id, value: utf8(JSON.stringify(receipt)) }),
  async give(id, { sites, signed }) {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(GIVEN_MAX_MS)]);
    setMaxListeners(0, signal);
    await Promise.all(
      sites.map((site) => ask(site, METHODS.roundReceipt, { header: signed }, signal).catch(() => undefined)),
    );
    if (!stop.aborted) await store.write([{ type: 'del', key: PREFIX + id }]);
  },
  async *pending() {
    for await (const { key, value } of store.list({ prefix: PREFIX }))
      yield [RoundId.parse(key.slice(PREFIX.length)), Pending.parse(JSON.parse(fromUtf8(value)))];
  },
});
