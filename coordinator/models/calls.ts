/** What sites ask of the registry over their channel: a version's signed record, then its file piece by piece. */
import { utf8 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import { parseMessage } from '../../shared/rounds/fields.ts';
import { MODEL_CHUNK_BYTES, ModelChunkRequest, ModelRecordRequest } from '../../shared/wire/model.ts';
import type { Call, Reply } from '../../shared/wire/peer.ts';
import { METHODS } from '../../shared/wire/session.ts';
import type { ModelRegistry } from './registry.ts';

type SiteCalls = Readonly<Record<string, (call: Call, site: SiteId) => Promise<Reply>>>;

export const createModelCalls = (registry: ModelRegistry): SiteCalls => ({
  async [METHODS.modelRecord]({ header }) {
    const { name, version } = parseMessage(ModelRecordRequest, header);
    return { payload: utf8(JSON.stringify(await registry.signed(name, version))) };
  },
  async [METHODS.modelChunk]({ header }) {
    const { name, version, index } = parseMessage(ModelChunkRequest, header);
    const summary = registry.summary(name, version);
    const at = index * MODEL_CHUNK_BYTES;
    if (at >= summary.bytes)
      throw new QflError('protocol', { detail: `${name} ${version} has no piece ${index}` });
    return { payload: await registry.piece(summary, at, MODEL_CHUNK_BYTES) };
  },
});
