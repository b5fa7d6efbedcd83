/** What of a chat's ties leaves its site: blind tokens, the same for what belongs together, others tomorrow and elsewhere. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAffinity, SHARED_PREFIX_CHARS_MIN } from '../../../agent/answer/affinity.ts';
import { Pseudonym, SiteId } from '../../../shared/ids.ts';
import { ChatRequest } from '../../../shared/wire/chat.ts';
import { CouplingToken } from '../../../shared/wire/envelope.ts';

const DAY_MS = 86_400_000;
const [owl, heron] = ['0', '1'].map((digit) => Pseudonym.parse(digit.repeat(32))) as [Pseudonym, Pseudonym];
const secret = new Uint8Array(32).fill(7);
const at = (nowMs = 0, key = secret) => createAffinity(key, { nowMs: () => nowMs });
const chat = (messages: readonly (readonly [role: string, content: string])[], rest: object = {}) =>
  ChatRequest.parse({
    model: 'm',
    messages: messages.map(([role, content]) => ({ role, content })),
    ...rest,
  });
const first = chat([['user', 'Is warfarin safe with aspirin?']]);
const second = chat([
  ['user', 'Is warfarin safe with aspirin?'],
  ['assistant', 'No.'],
  ['user', 'Why?'],
]);

describe('affinity tokens', () => {
  it('turns of one conversation share one, other conversations and other people do not', () => {
    const affinity = at();
    const token = affinity.couplingOf(first, owl).affinity;
    expect(CouplingToken.safeParse(token).success).toBe(true);
    expect(affinity.couplingOf(second, owl).affinity).toBe(token);
    expect(affinity.couplingOf(first, heron).affinity).not.toBe(token);
    expect(affinity.couplingOf(chat([['user', 'Another one']]), owl).affinity).not.toBe(token);
    expect(affinity.couplingOf({ ...first, model: 'other' }, owl).affinity).not.toBe(token);
  });

  it('a named conversation is one whatever is said in it; ids of two people are two', () => {
    const affinity = at();
    const named = (metadata: object, content: string) => chat([['user', content]], { metadata });
    const one = affinity.couplingOf(named({ conversation_id: 'c1' }, 'a'), owl);
    expect(affinity.couplingOf(named({ session_id: 'c1' }, 'b'), owl)).toEqual(one);
    expect(affinity.couplingOf(chat([['user', 'c']], { prompt_cache_key: 'c1' }), owl)).toEqual(one);
    expect(affinity.couplingOf(named({ conversation_id: 'c1' }, 'a'), heron)).not.toEqual(one);
    expect(affinity.couplingOf(named({ conversation_id: 7 }, 'Is it?'), owl)).toEqual(
      affinity.couplingOf(chat([['user', 'Is it?']]), owl),
    );
  });

  it('a long beginning is shared by everyone who asks with it, a short one is not', () => {
    const affinity = at();
    const after = (guideline: string, question: string) =>
      chat([
        ['system', guideline],
        ['user', question],
      ]);
    const long = 'g'.repeat(SHARED_PREFIX_CHARS_MIN);
    expect(affinity.couplingOf(after(long, 'one'), owl)).toEqual(
      affinity.couplingOf(after(long, 'two'), heron),
    );
    expect(affinity.couplingOf(after('short', 'one'), owl)).not.toEqual(
      affinity.couplingOf(after('short', 'one'), heron),
    );
  });

  it('copies of one question are kept apart and not drawn together', () => {
    const copy = chat([['user', 'a']], { metadata: { redundancy_group: 'g', conversation_id: 'c' } });
    const coupling = at().couplingOf(copy, owl);
    expect(coupling.affinity).toBeUndefined();
    expect(CouplingToken.safeParse(coupling.apart).success).toBe(true);
  });

  it('is another tomorrow and at another site, and says nothing of what was asked', () => {
    const today = at(DAY_MS / 2).couplingOf(first, owl);
    expect(at(DAY_MS - 1).couplingOf(first, owl)).toEqual(today);
    expect(at(DAY_MS).couplingOf(first, owl)).not.toEqual(today);
    expect(at(DAY_MS / 2, new Uint8Array(32).fill(8)).couplingOf(first, owl)).not.toEqual(today);
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (content) => {
        const token = at().couplingOf(chat([['user', content]]), owl).affinity;
        expect(token).toMatch(/^[0-9a-f]{32}$/);
      }),
    );
  });

  it('remembers where a conversation was served, so that the next turn may go there', () => {
    const affinity = at();
    const coupling = affinity.couplingOf(first, owl);
    expect(affinity.warmSite(coupling)).toBeUndefined();
    affinity.served(coupling, SiteId.parse('north'));
    expect(affinity.warmSite(affinity.couplingOf(second, owl))).toBe('north');
    expect(affinity.warmSite({ apart: 'f'.repeat(32) })).toBeUndefined();
  });
});
