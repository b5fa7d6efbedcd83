/**
 * Blind tokens by which the coordinator's planner sees that requests belong together, and nothing else: a hash keyed with a secret of this site that
 * changes every day (UTC). Turns of one conversation share one, so does a long prompt beginning that many ask with: where it was served before,
 * its cache is warm. Copies of one question that should not meet at one site share an `apart` token instead.
 */
import { framed, utf8 } from '../../shared/bytes.ts';
import { blake2b } from '../../shared/crypto/hash.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Pseudonym, SiteId } from '../../shared/ids.ts';
import { type ChatRequest, CouplingHints } from '../../shared/wire/chat.ts';
import type { Coupling } from './sealing.ts';

const TOKEN_BYTES = 16;
/** A prompt beginning of this many characters is worth its cache whoever asks; shorter ones tie only the turns of one asker. */
export const SHARED_PREFIX_CHARS_MIN = 2_048;
/** Tokens whose last site is remembered, so that it is among the next turn's candidates. */
const WARM_MAX = 10_000;

export interface Affinity {
  couplingOf(request: ChatRequest, asker: Pseudonym): Coupling;
  /** Where the conversation was served last; undefined when nobody knows. */
  warmSite(coupling: Coupling): SiteId | undefined;
  served(coupling: Coupling, site: SiteId): void;
}

/** All turns of a chat begin with the same messages: those up to its first question. */
const beginningOf = ({ model, messages }: ChatRequest): string => {
  const first = messages.findIndex(({ role }) => role === 'user');
  return JSON.stringify([model, messages.slice(0, first === -1 ? 1 : first + 1)]);
};

/** What is asked before the first question: instructions, a guideline, a template. */
const sharedOf = ({ model, messages }: ChatRequest): string | undefined => {
  const first = messages.findIndex(({ role }) => role === 'user');
  const text = JSON.stringify([model, messages.slice(0, Math.max(0, first))]);
  return text.length >= SHARED_PREFIX_CHARS_MIN ? text : undefined;
};

export const createAffinity = (secret: Uint8Array, clock: Pick<Clock, 'nowMs'>): Affinity => {
  const warm = new Map<string, SiteId>();
  const token = (what: string, ...parts: readonly string[]): string => {
    const day = new Date(clock.nowMs()).toISOString().slice(0, 'YYYY-MM-DD'.length);
    const key = blake2b(32, framed(utf8('qfl affinity day'), utf8(day)), secret);
    return Buffer.from(blake2b(TOKEN_BYTES, framed(utf8(what), ...parts.map(utf8)), key)).toString('hex');
  };
  return {
    couplingOf(request, asker) {
      const { metadata, prompt_cache_key: cacheKey } = CouplingHints.parse(request);
      const group = metadata?.redundancy_group;
      // Copies begin alike, which would draw them together.
      if (group !== undefined) return { apart: token('apart', asker, group) };
      const conversation = metadata?.conversation_id ?? metadata?.session_id ?? cacheKey ?? undefined;
      if (conversation !== undefined) return { affinity: token('conversation', asker, conversation) };
      const shared = sharedOf(request);
      return {
        affinity:
          shared === undefined ? token('turns', asker, beginningOf(request)) : token('prefix', shared),
      };
    },
    warmSite: ({ affinity }) => (affinity === undefined ? undefined : warm.get(affinity)),
    served({ affinity }, site) {
      if (affinity === undefined) return;
      warm.delete(affinity);
      const [oldest] = warm.keys();
      if (warm.size >= WARM_MAX && oldest !== undefined) warm.delete(oldest);
      warm.set(affinity, site);
    },
  };
};
