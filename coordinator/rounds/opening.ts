/** From the shares of enough sites to the masks that are left in the sum of the survivors' vectors. Opens no vector: only what hides their sum. */
import { fromBase64 } from '../../shared/bytes.ts';
import type { SiteId } from '../../shared/ids.ts';
import { pairHashOf, type SecretKind, secretHashOf } from '../../shared/rounds/messages.ts';
import { openSeeds, selfSeedOf } from '../../shared/rounds/secrets.ts';
import { combining } from '../../shared/rounds/shamir.ts';
import type { Steps } from '../../shared/rounds/slowly.ts';
import type { Masks } from '../../shared/rounds/words.ts';
import type { RoundState } from './round.ts';

/** `masks` to be applied to the sum; or whose secrets do not come out. */
export type Opening = { readonly masks: Masks } | { readonly fault: string };

type Graph = readonly (readonly number[])[];

export function* openingMasks(state: RoundState, graph: Graph): Steps<Opening> {
  const { plan, hash } = state.plan;
  const placeOf = new Map(plan.sites.map((site, at) => [site, at]));
  const holders = [...state.reveals].slice(0, plan.threshold);
  const combiner = yield* combining(holders.map(([site]) => placeOf.get(site)! + 1));
  const alive = new Set(state.survivors.map(({ site }) => site));
  const secretOf = (site: SiteId, at: number, kind: SecretKind): Uint8Array | undefined => {
    const secret = combiner.secretOf(holders.map(([, shares]) => fromBase64(shares[at]!.share)));
    const published = state.shares.get(site)!;
    const expected = kind === 'self' ? published.selfHash : published.wrapHash;
    return secret !== undefined && secretHashOf(kind, hash, site, secret) === expected ? secret : undefined;
  };
  const [plus, minus]: [Uint8Array[], Uint8Array[]] = [[], []];
  for (const [at, { site }] of state.members.entries()) {
    yield;
    const kind = alive.has(site) ? 'self' : 'wrap';
    const secret = secretOf(site, at, kind);
    if (secret === undefined)
      return { fault: `the shares that ${site} made are not of the secret it published` };
    if (kind === 'self') {
      minus.push(selfSeedOf(secret, hash));
      continue;
    }
    const published = state.shares.get(site)!;
    const own = placeOf.get(site)!;
    const near = graph[own]!;
    const seeds = openSeeds(secret, hash, site, fromBase64(published.seeds));
    if (seeds?.length !== near.length) return { fault: `${site} left seeds that cannot be opened` };
    for (const [index, other] of near.entries()) {
      const seed = seeds[index]!;
      if (pairHashOf(hash, seed) !== published.pairHashes[other])
        return { fault: `${site} left other seeds than it published` };
      if (!alive.has(plan.sites[other]!)) continue;
      // The survivor added it where it is lower in order.
      if (other < own) minus.push(seed);
      else plus.push(seed);
    }
  }
  return { masks: { plus, minus } };
}
