/**
 * One-time invitations. The token goes to the hospital out of band; the coordinator keeps only what the handshake needs
 * of it (a derived key, encrypted at rest), until it is used or a day has passed.
 */
import { z } from 'zod';
import { fromBase64, fromUtf8, toBase64, toHex, utf8 } from '../../shared/bytes.ts';
import { type Clock, DAY_MS } from '../../shared/clock.ts';
import { enrolmentPsk, TOKEN_ID_BYTES } from '../../shared/crypto/handshake.ts';
import { SiteId } from '../../shared/ids.ts';
import type { RandomBytes } from '../../shared/random.ts';
import type { Store } from '../../shared/store/port.ts';
import { encodeJoinToken } from '../../shared/wire/join-token.ts';

export const INVITATION_LIFE_MS = DAY_MS;
const PREFIX = 'invite/';

const Invitation = z.strictObject({
  tokenId: z.string(),
  site: SiteId,
  psk: z.base64(),
  createdMs: z.int(),
  expiresMs: z.int(),
  autoApprove: z.boolean(),
});
export type Invitation = z.infer<typeof Invitation>;

export interface Invitations {
  /** @returns the token's text, shown once and never stored */
  create(site: SiteId, autoApprove: boolean): Promise<{ token: string; expiresMs: number }>;
  /** An unused, unexpired invitation. */
  find(tokenId: Uint8Array): Promise<Invitation | undefined>;
  /** Takes it out of use, durably; false when somebody else was faster. */
  use(tokenId: Uint8Array): Promise<boolean>;
  list(): Promise<Omit<Invitation, 'psk'>[]>;
}

const parse = (value: Uint8Array): Invitation => Invitation.parse(JSON.parse(fromUtf8(value)));

export const createInvitations = (
  store: Store,
  pins: { readonly fingerprint: Uint8Array; readonly tlsFingerprint: string | undefined },
  clock: Clock,
  random: RandomBytes,
): Invitations => {
  const using = new Set<string>();
  const live = (invitation: Invitation): boolean =>
    clock.nowMs() < invitation.expiresMs && clock.nowMs() >= invitation.createdMs - DAY_MS;
  const find = async (tokenId: Uint8Array): Promise<Invitation | undefined> => {
    const value = await store.get(PREFIX + toHex(tokenId));
    const invitation = value === undefined ? undefined : parse(value);
    return invitation !== undefined && live(invitation) ? invitation : undefined;
  };
  return {
    find,
    async create(site, autoApprove) {
      const tokenId = random(TOKEN_ID_BYTES);
      const secret = random(32);
      const createdMs = clock.nowMs();
      const expiresMs = createdMs + INVITATION_LIFE_MS;
      const invitation: Invitation = {
        tokenId: toHex(tokenId),
        site,
        psk: toBase64(enrolmentPsk(secret)),
        createdMs,
        expiresMs,
        autoApprove,
      };
      await store.write([
        { type: 'put', key: PREFIX + invitation.tokenId, value: utf8(JSON.stringify(invitation)) },
      ]);
      return { token: encodeJoinToken({ site, tokenId, secret, ...pins }), expiresMs };
    },
    async use(tokenId) {
      const key = PREFIX + toHex(tokenId);
      // Two enrolments with one token can be under way at once; the set closes the gap between look and delete.
      if (using.has(key)) return false;
      using.add(key);
      try {
        if ((await find(tokenId)) === undefined) return false;
        await store.write([{ type: 'del', key }]);
        return true;
      } finally {
        using.delete(key);
      }
    },
    async list() {
      const found: Omit<Invitation, 'psk'>[] = [];
      for await (const { value } of store.list({ prefix: PREFIX })) {
        const { psk: _, ...shown } = parse(value);
        if (live({ ...shown, psk: '' })) found.push(shown);
      }
      return found;
    },
  };
};

export const pskOf = (invitation: Invitation): Uint8Array => fromBase64(invitation.psk);
