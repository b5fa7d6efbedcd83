/** Calls of sites that bring their masked vectors, fetch the model, or say that no vector will come. */
import { open } from 'node:fs/promises';
import { toHex } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import type { RoundId, SiteId } from '../../shared/ids.ts';
import { parseMessage } from '../../shared/rounds/fields.ts';
import {
  CHUNK_BYTES,
  ChunkHeader,
  ModelRequest,
  RoundLost,
  type UploadState,
  VectorHeader,
  vectorHashOf,
} from '../../shared/rounds/messages.ts';
import { WORD_BYTES } from '../../shared/rounds/words.ts';
import { createSerialByKey } from '../../shared/serial.ts';
import type { Call, Reply } from '../../shared/wire/peer.ts';
import { METHODS } from '../../shared/wire/session.ts';
import type { Live } from './live.ts';
import { awaited, membersHash, type RoundEvent } from './round.ts';

export interface UploadOptions {
  /** Of a plan's hash, while it is under way. */
  readonly roundOf: (planHash: string) => Live | undefined;
  readonly happen: (round: Live, event: RoundEvent) => Promise<void>;
  /** Bytes came: the round is not silent. */
  readonly progressed: (round: Live) => void;
  readonly modelPath: (id: RoundId) => string;
}

export type SiteCalls = Readonly<Record<string, (call: Call, site: SiteId) => Promise<Reply>>>;

export const createUploadCalls = ({ roundOf, happen, progressed, modelPath }: UploadOptions): SiteCalls => {
  const perUpload = createSerialByKey<string>();
  const roundBy = (planHash: string, site: SiteId): Live => {
    const round = roundOf(planHash);
    if (round?.plan.plan.sites.includes(site) !== true)
      throw new QflError('expired', { detail: 'this round is over' });
    return round;
  };
  const uploadState = (round: Live, site: SiteId, chunks: number, begun = true): UploadState => {
    const bytes = Math.min(chunks * CHUNK_BYTES, round.plan.plan.words * WORD_BYTES);
    if (bytes > (round.received.get(site) ?? 0)) {
      round.received.set(site, bytes);
      progressed(round);
    }
    return { chunks, begun, open: round.state.phase === 'collecting' && awaited(round.state).includes(site) };
  };
  /** Whole and as signed: it counts. */
  const complete = async (
    round: Live,
    site: SiteId,
    chunks: number,
    hashes: readonly Uint8Array[],
  ): Promise<void> => {
    const signed = round.announced.get(site);
    if (chunks < hashes.length || signed === undefined) return;
    await happen(round, { kind: 'vector', site, hash: signed.hash, signature: signed.signature });
  };
  const vector = async ({ header, payload }: Call, site: SiteId): Promise<Reply> => {
    const { plan, members, signature } = parseMessage(VectorHeader, header);
    const round = roundBy(plan, site);
    if (round.state.phase !== 'collecting' || !awaited(round.state).includes(site))
      return { header: uploadState(round, site, 0) };
    if (members !== toHex(membersHash(round.state)))
      throw new QflError('protocol', { detail: 'a vector that was masked for other members' });
    const { hashes, chunks } = await round.spool.begin(site, payload);
    const hash = toHex(vectorHashOf(round.plan.hash, site, round.plan.plan.words, hashes));
    round.announced.set(site, { hash, signature });
    const state = uploadState(round, site, chunks);
    await complete(round, site, chunks, hashes);
    return { header: state };
  };
  const chunk = async ({ header, payload }: Call, site: SiteId): Promise<Reply> => {
    const { plan, index } = parseMessage(ChunkHeader, header);
    const round = roundBy(plan, site);
    if (round.state.phase !== 'collecting') return { header: uploadState(round, site, 0) };
    const upload = await round.spool.add(site, index, payload);
    if (upload === undefined) return { header: uploadState(round, site, 0, false) };
    const { hashes, chunks } = upload;
    const state = uploadState(round, site, chunks);
    await complete(round, site, chunks, hashes);
    return { header: state };
  };
  const model = async ({ header }: Call, site: SiteId): Promise<Reply> => {
    const { plan, index } = parseMessage(ModelRequest, header);
    const round = roundBy(plan, site);
    const file = await open(modelPath(round.id));
    try {
      // Of a large model a piece, not the whole for each piece of it.
      const { buffer, bytesRead } = await file.read(
        Buffer.alloc(CHUNK_BYTES),
        0,
        CHUNK_BYTES,
        index * CHUNK_BYTES,
      );
      return { payload: buffer.subarray(0, bytesRead) };
    } finally {
      await file.close();
    }
  };
  const siteLost = async ({ header }: Call, site: SiteId): Promise<Reply> => {
    const { plan, code } = parseMessage(RoundLost, header);
    await happen(roundBy(plan, site), { kind: 'lost', site, code, detail: 'its work failed' });
    return {};
  };
  /** Chunks of a site are kept in the order in which they came. */
  const inOrder =
    (answer: (call: Call, site: SiteId) => Promise<Reply>) =>
    (call: Call, site: SiteId): Promise<Reply> =>
      perUpload(site, () => answer(call, site));

  return {
    [METHODS.roundVector]: inOrder(vector),
    [METHODS.roundChunk]: inOrder(chunk),
    [METHODS.roundModel]: model,
    [METHODS.roundLost]: siteLost,
  };
};
