/** What travels between a site and the coordinator in a round, besides messages: the model to it, and its masked vector from it, both in chunks. */
import { toHex } from '../../shared/bytes.ts';
import { MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { RoundId } from '../../shared/ids.ts';
import { parseMessage } from '../../shared/rounds/fields.ts';
import { CHUNK_BYTES, chunkCountOf, chunkHashOf, UploadState } from '../../shared/rounds/messages.ts';
import { pause } from '../../shared/pause.ts';
import type { PlanBytes } from '../../shared/rounds/plan.ts';
import type { CallOptions, Received, Reply } from '../../shared/wire/peer.ts';
import { METHODS } from '../../shared/wire/session.ts';
import type { RoundShelf } from './shelf.ts';
import { membersHash, type SiteRound } from './site-round.ts';

/** The link to the coordinator: waits for a connection and asks again after a loss. */
export interface RoundCaller {
  request(method: string, message: Reply, options: CallOptions): Promise<Received>;
}

/** For one question; it is asked again. */
const SEND_TIMEOUT_MS = 5 * MINUTE_MS;
/** What says nothing of the round itself. */
const PASSING: ReadonlySet<string> = new Set([
  'not_connected',
  'timeout',
  'cut',
  'overloaded',
  'storage_failed',
  'internal',
]);
const AGAIN_AFTER_MS = 2 * SECOND_MS;
/** Chunks under way: what a cut line makes the site send again. */
const CHUNKS_IN_FLIGHT = 4;

/**
 * Up to which chunk is sent at once. The last one is shorter than the others and may fit one frame, with which it would overtake them on the channel and
 * come before its turn: it goes by itself.
 */
const lastOfBatch = (from: number, count: number): number =>
  from === count - 1 ? count : Math.min(count - 1, from + CHUNKS_IN_FLIGHT);
/** Of answers to chunks that were under way together, the one that was given last: the end, a beginning anew, or most chunks. */
const newestOf = (answers: readonly UploadState[]): UploadState =>
  answers.find(({ open }) => !open) ??
  answers.find(({ begun }) => !begun) ??
  answers.reduce((newest, one) => (one.chunks > newest.chunks ? one : newest));

export interface RoundLine {
  /** The bytes that the work begins from; none where the plan names none. @throws QflError `protocol` for others than it names */
  fetchModel(plan: PlanBytes, signal: AbortSignal): Promise<Uint8Array>;
  /** Sends the vector that is on the shelf, on from where it was. @throws QflError what the coordinator refuses */
  send(id: RoundId, round: SiteRound, plan: PlanBytes, signal: AbortSignal): Promise<void>;
}

export const createRoundLine = (caller: () => RoundCaller, shelf: RoundShelf): RoundLine => {
  /** Asks until there is an answer: a coordinator whose disk is full, or that is being started again, ends nothing. */
  const ask = async (method: string, message: Reply, signal: AbortSignal): Promise<Received> => {
    for (;;) {
      try {
        return await caller().request(method, message, { timeoutMs: SEND_TIMEOUT_MS, signal });
      } catch (thrown) {
        if (signal.aborted || !PASSING.has(toQflError(thrown).code)) throw thrown;
      }
      await pause(AGAIN_AFTER_MS, signal);
    }
  };

  const fetchModel: RoundLine['fetchModel'] = async (plan, signal) => {
    const { modelHash } = plan.plan;
    if (modelHash === null) return new Uint8Array(0);
    const pieces: Uint8Array[] = [];
    for (let index = 0; ; index += 1) {
      const header = { plan: toHex(plan.hash), index };
      const { payload } = await ask(METHODS.roundModel, { header }, signal);
      pieces.push(payload);
      if (payload.byteLength < CHUNK_BYTES) break;
    }
    const model = Buffer.concat(pieces);
    if (toHex(chunkHashOf(model)) !== modelHash)
      throw new QflError('protocol', { detail: 'the model is not the one that the plan names' });
    return model;
  };

  const send: RoundLine['send'] = async (id, round, plan, signal) => {
    const count = chunkCountOf(plan.plan.words);
    const pieceOf = async (index: number): Promise<Uint8Array> => {
      const chunk = await shelf.chunk(id, index);
      if (chunk === undefined)
        throw new QflError('storage_failed', { detail: 'a piece of the vector is not there' });
      return chunk;
    };
    const hashes: Uint8Array[] = [];
    for (let index = 0; index < count; index += 1) hashes.push(chunkHashOf(await pieceOf(index)));
    const header = {
      plan: toHex(plan.hash),
      members: toHex(membersHash(round)),
      signature: round.vector!.signature,
    };
    const announce = async (): Promise<UploadState> =>
      parseMessage(
        UploadState,
        (await ask(METHODS.roundVector, { header, payload: Buffer.concat(hashes) }, signal)).header,
      );
    let state = await announce();
    while (state.open && (state.chunks < count || !state.begun)) {
      if (!state.begun) {
        state = await announce();
        continue;
      }
      const last = lastOfBatch(state.chunks, count);
      const pieces: { readonly index: number; readonly payload: Uint8Array }[] = [];
      // All are read before the first is sent: a store answers in any order, and a chunk that comes before its turn travels for nothing.
      for (let index = state.chunks; index < last; index += 1)
        pieces.push({ index, payload: await pieceOf(index) });
      const answers = await Promise.all(
        pieces.map(async ({ index, payload }) => {
          const sent = await ask(
            METHODS.roundChunk,
            // The plan says how long a vector is: to hide it would cost a twentieth of the traffic.
            { header: { plan: header.plan, index }, payload, lengthIsPublic: true },
            signal,
          );
          return parseMessage(UploadState, sent.header);
        }),
      );
      state = newestOf(answers);
    }
  };
  return { fetchModel, send };
};
