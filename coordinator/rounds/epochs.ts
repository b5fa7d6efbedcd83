/**
 * Pair keys for sealed rounds, as the coordinator carries them between sites: it passes on what they signed and knows none of it. An epoch serves rounds
 * of the same sites for a day; a change of sites, or of a site's identity, needs another.
 */
import { z } from 'zod';
import { fromBase64, fromUtf8, toHex, utf8 } from '../../shared/bytes.ts';
import { type Clock, DAY_MS } from '../../shared/clock.ts';
import { hashOf } from '../../shared/crypto/hash.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import { EpochId, SiteId } from '../../shared/ids.ts';
import { type RandomBytes, randomHex } from '../../shared/random.ts';
import {
  graphSeedOf,
  NonceReply,
  PairingsReply,
  SignedOffer,
  transcriptOf,
} from '../../shared/rounds/epoch.ts';
import { Hash, parseMessage } from '../../shared/rounds/fields.ts';
import type { Store } from '../../shared/store/port.ts';
import { METHODS } from '../../shared/wire/session.ts';
import type { Ask } from './ask.ts';

/** Then a hash of the sites: each set of sites has an epoch of its own, so that trainings with different sites go on side by side. */
const PREFIX = 'round-epoch/';
/** Sites keep as many at most. */
const EPOCHS_MAX = 8;
const EPOCH_MAX_MS = DAY_MS;
const EPOCH_BYTES = 16;

const StoredEpoch = z.strictObject({
  epoch: EpochId,
  sites: z.array(SiteId),
  /** Fingerprints of the sites' identities: a rotated identity needs another epoch. */
  identities: z.array(z.string()),
  transcript: Hash,
  graphSeed: Hash,
  madeMs: z.int(),
  /** The next round's. */
  number: z.int().positive(),
});
export type StoredEpoch = z.infer<typeof StoredEpoch>;

export interface Epochs {
  /**
   * The epoch of these sites, and a number in it that no round has had. Makes one where there is none.
   * @throws QflError `site_unavailable` with the sites that did not answer, and why
   */
  take(sites: readonly SiteId[], signal: AbortSignal): Promise<StoredEpoch>;
  /** A site has lost its keys of this epoch: the next round of these sites gets another. */
  forget(sites: readonly SiteId[]): Promise<void>;
}

export interface EpochsOptions {
  readonly store: Store;
  readonly ask: Ask;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly identityOf: (site: SiteId) => string | undefined;
}

/** @throws QflError `site_unavailable`, `protocol` */
const fromEach = async <Value>(
  sites: readonly SiteId[],
  what: string,
  get: (site: SiteId) => Promise<Value>,
): Promise<Value[]> => {
  const settled = await Promise.allSettled(sites.map(get));
  const failed = settled.flatMap((one, at) =>
    one.status === 'rejected' ? [{ site: sites[at]!, error: toQflError(one.reason) }] : [],
  );
  if (failed.length > 0)
    throw new QflError('site_unavailable', {
      detail: `${what}: ${failed.map(({ site, error }) => `${site} (${error.code}${error.detail === undefined ? '' : `: ${error.detail}`})`).join('; ')}`,
      next: 'Begin the round without these sites, or when they are there.',
      facts: { sites: failed.map(({ site, error }) => ({ site, code: error.code })) },
    });
  return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
};

const make = async (
  sites: readonly SiteId[],
  { ask, clock, random, identityOf }: EpochsOptions,
  signal: AbortSignal,
): Promise<StoredEpoch> => {
  const epoch = EpochId.parse(randomHex(random, EPOCH_BYTES));
  const header = (value: object) => ({ header: { epoch, ...value } });
  const offers = await fromEach(sites, 'no keys for the epoch', async (site) =>
    parseMessage(SignedOffer, (await ask(site, METHODS.epochOffer, header({ sites }), signal)).header),
  );
  const pairings = await fromEach(
    sites,
    'no keys for the others',
    async (site) =>
      parseMessage(PairingsReply, (await ask(site, METHODS.epochPairings, header({ offers }), signal)).header)
        .pairings,
  );
  const nonces = await fromEach(sites, 'the keys of the others were refused', async (site) => {
    const forIt = pairings.flat().filter(({ to }) => to === site);
    const reply = await ask(site, METHODS.epochNonce, header({ pairings: forIt }), signal);
    return parseMessage(NonceReply, reply.header).nonce;
  });
  await fromEach(sites, 'the epoch was not completed', (site) =>
    ask(site, METHODS.epochGraph, header({ nonces }), signal),
  );
  const transcript = transcriptOf(offers.map(({ offer }) => offer));
  return {
    epoch,
    sites: [...sites],
    identities: sites.map((site) => identityOf(site) ?? ''),
    transcript: toHex(transcript),
    graphSeed: toHex(graphSeedOf(transcript, nonces.map(fromBase64))),
    madeMs: Math.trunc(clock.nowMs()),
    number: 1,
  };
};

export const createEpochs = (options: EpochsOptions): Epochs => {
  const { store, clock, identityOf } = options;
  const keyOf = (sites: readonly SiteId[]): string =>
    PREFIX + toHex(hashOf('qfl epoch sites', ...sites.map(utf8)));
  const parse = (value: Uint8Array): StoredEpoch => StoredEpoch.parse(JSON.parse(fromUtf8(value)));
  const read = async (sites: readonly SiteId[]): Promise<StoredEpoch | undefined> => {
    const value = await store.get(keyOf(sites));
    return value === undefined ? undefined : parse(value);
  };
  /** Those that serve no more, and the oldest beyond what sites keep. */
  const forgetOld = async (): Promise<void> => {
    const epochs: StoredEpoch[] = [];
    for await (const { value } of store.list({ prefix: PREFIX })) epochs.push(parse(value));
    const old = epochs
      .toSorted((left, right) => right.madeMs - left.madeMs)
      .filter((one, at) => at >= EPOCHS_MAX || clock.nowMs() - one.madeMs >= EPOCH_MAX_MS);
    if (old.length > 0) await store.write(old.map(({ sites }) => ({ type: 'del', key: keyOf(sites) })));
  };
  const serves = (epoch: StoredEpoch, sites: readonly SiteId[]): boolean =>
    epoch.sites.join() === sites.join() &&
    epoch.identities.every((identity, at) => identity === identityOf(epoch.sites[at]!)) &&
    clock.nowMs() - epoch.madeMs < EPOCH_MAX_MS;
  return {
    forget: (sites) => store.write([{ type: 'del', key: keyOf(sites) }]),
    async take(sites, signal) {
      const known = await read(sites);
      const isKnown = known !== undefined && serves(known, sites);
      const epoch = isKnown ? known : await make(sites, options, signal);
      // On the disk before it is used: a number is given once, whatever happens.
      const value = utf8(JSON.stringify({ ...epoch, number: epoch.number + 1 }));
      await store.write([{ type: 'put', key: keyOf(sites), value }]);
      if (!isKnown) await forgetOld();
      return epoch;
    },
  };
};
