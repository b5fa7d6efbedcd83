/** Calls of the coordinator that make pair keys, in their order (`site-epoch.ts`). Each state is on the disk before its answer leaves. */
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { EpochId } from '../../shared/ids.ts';
import type { Vault } from '../../shared/keys/vault.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { parseMessage } from '../../shared/rounds/fields.ts';
import { GraphRequest, NonceRequest, OfferRequest, PairingsRequest } from '../../shared/rounds/epoch.ts';
import type { Call, Reply } from '../../shared/wire/peer.ts';
import { METHODS } from '../../shared/wire/session.ts';
import { checkCompared, type PolicyFacts } from './policy.ts';
import type { RoundShelf } from './shelf.ts';
import { closeEpoch, drawGraph, offerEpoch, pairEpoch, type SiteEpoch } from './site-epoch.ts';
import type { RosterKeys } from './site-round.ts';

export interface EpochCallOptions extends PolicyFacts {
  readonly vault: Vault;
  /** Of sites in force in the directory that enough hospitals have confirmed. */
  readonly keys: RosterKeys;
  readonly random: RandomBytes;
  readonly clock: Clock;
  /** @throws QflError `directory_stale`, `lockdown` */
  directoryReady(): Promise<void>;
}

export type Answer = (call: Call) => Promise<Reply>;

export const createEpochCalls = (
  options: EpochCallOptions,
  shelf: RoundShelf,
): Readonly<Record<string, Answer>> => {
  const { self, federation, vault, keys, random } = options;
  const offer = async ({ header }: Call): Promise<Reply> => {
    const request = parseMessage(OfferRequest, header);
    await options.directoryReady();
    checkCompared(request.sites, options);
    const known = await shelf.epoch(request.epoch);
    if (known !== undefined) return { header: known.offer };
    const made = offerEpoch(request, self, federation, {
      identity: vault.identity,
      keys,
      random,
      nowMs: Math.max(0, Math.trunc(options.clock.nowMs())),
    });
    await shelf.putEpoch(made.epoch);
    return { header: made.reply };
  };
  const epochOf = async (id: EpochId): Promise<SiteEpoch> => {
    const epoch = await shelf.epoch(id);
    if (epoch === undefined) throw new QflError('not_found', { detail: 'this site has no such epoch' });
    return epoch;
  };
  const pairings = async ({ header }: Call): Promise<Reply> => {
    const { epoch, offers } = parseMessage(PairingsRequest, header);
    const deps = { identity: vault.identity, keys, hedge: vault.hedge };
    const made = await pairEpoch(await epochOf(epoch), offers, deps);
    await shelf.putEpoch(made.epoch);
    return { header: { pairings: made.reply } };
  };
  const nonce = async ({ header }: Call): Promise<Reply> => {
    const { epoch, pairings: received } = parseMessage(NonceRequest, header);
    const made = await closeEpoch(await epochOf(epoch), received, keys);
    await shelf.putEpoch(made.epoch);
    return { header: { nonce: made.reply } };
  };
  const graph = async ({ header }: Call): Promise<Reply> => {
    const { epoch, nonces } = parseMessage(GraphRequest, header);
    const made = drawGraph(await epochOf(epoch), nonces);
    await shelf.putEpoch(made.epoch);
    await shelf.forgetOldEpochs(epoch);
    return {};
  };
  return {
    [METHODS.epochOffer]: offer,
    [METHODS.epochPairings]: pairings,
    [METHODS.epochNonce]: nonce,
    [METHODS.epochGraph]: graph,
  };
};
