/** This site's own audit log as others see it: its head with a proof for whoever cosigns it, and what they cosigned, kept here. */
import { openCheckpoint, readCheckpoint } from '../../shared/audit/checkpoint.ts';
import type { AppendLog } from '../../shared/audit/log.ts';
import type { VerifierKey } from '../../shared/audit/verifier-key.ts';
import { fromUtf8, toBase64 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import type { Store } from '../../shared/store/port.ts';
import type { Call, Received, Reply } from '../../shared/wire/peer.ts';
import {
  COSIGNED_BYTES_MAX,
  CosignedLog,
  type LogHeadReply,
  LogHeadRequest,
} from '../../shared/wire/session.ts';

const PREFIX = 'cosigned/';

/** @throws QflError `protocol`; `not_found` when the log has not that size */
export const answerLogHead = async (log: AppendLog, { header }: Call): Promise<Reply> => {
  const request = LogHeadRequest.safeParse(header);
  if (!request.success) throw new QflError('protocol', { detail: 'a call with a wrong header' });
  const { from, size: asked } = request.data;
  const checkpoint = await log.checkpoint();
  const size = asked ?? readCheckpoint(checkpoint).size;
  const proof = from === 0 || from === size ? [] : await log.consistencyProof(from, size);
  return { header: { checkpoint, proof: proof.map(toBase64) } satisfies LogHeadReply };
};

export interface CosignedLogs {
  /** Keeps the newest cosigned checkpoint of a log, this site's own or the coordinator's. */
  keep(message: Received): Promise<void>;
  newest(origin: string): Promise<string | undefined>;
}

export const createCosignedLogs = (
  store: Store,
  keysOf: (origin: string) => readonly VerifierKey[] | undefined,
): CosignedLogs => {
  const newest = async (origin: string): Promise<string | undefined> => {
    const value = await store.get(PREFIX + origin);
    return value === undefined ? undefined : fromUtf8(value);
  };
  return {
    newest,
    async keep({ header, payload }) {
      const { origin } = CosignedLog.parse(header);
      if (payload.byteLength > COSIGNED_BYTES_MAX) throw new QflError('too_large', { detail: origin });
      const keys = keysOf(origin);
      if (keys === undefined)
        throw new QflError('unknown_key', { detail: 'a checkpoint of a log that is not kept here' });
      const { checkpoint } = openCheckpoint(payload, keys);
      if (checkpoint.origin !== origin) throw new QflError('protocol', { detail: 'a note of another log' });
      const known = await newest(origin);
      if (known !== undefined && readCheckpoint(known).size > checkpoint.size) return;
      await store.write([{ type: 'put', key: PREFIX + origin, value: payload }]);
    },
  };
};
