/** The public key directory over plain HTTP requests, for whoever has no session: the mirror checks it like any other. */
import { z } from 'zod';
import { framed, fromBase64 } from '../../shared/bytes.ts';
import type { HttpClient } from '../../shared/http/client.ts';
import { PublicLeaves } from '../../shared/wire/admin.ts';
import { LeavesRequest } from '../../shared/wire/session.ts';
import type { LeafSource } from './directory.ts';

export const directoryOver = (client: HttpClient): LeafSource => ({
  async request(_method, { header }) {
    const { from } = LeavesRequest.parse(header);
    const { checkpoint, next, leaves } = await client.json(
      'GET',
      `/v1/directory/leaves?from=${from}`,
      z.object(PublicLeaves.shape),
    );
    return { header: { checkpoint, next }, payload: framed(...leaves.map(fromBase64)) };
  },
});
