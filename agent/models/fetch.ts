/** A model version over the channel to the coordinator: its record first, then its file in pieces. Nothing of it is used before it is checked. */
import { fromUtf8 } from '../../shared/bytes.ts';
import { MINUTE_MS } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { checkAsked, checkDigest, type ModelTrust, verifyModel } from '../../shared/models/record.ts';
import { readSafetensors } from '../../shared/tensor/safetensors.ts';
import {
  MODEL_CHUNK_BYTES,
  type ModelName,
  type ModelRecord,
  type ModelRecordRequest,
  SignedModel,
} from '../../shared/wire/model.ts';
import type { CallOptions, Received, Reply } from '../../shared/wire/peer.ts';
import { METHODS } from '../../shared/wire/session.ts';

/** The link to the coordinator. */
export interface ModelCaller {
  request(method: string, message: Reply, options: CallOptions): Promise<Received>;
}

export interface FetchedModel {
  readonly record: ModelRecord;
  readonly signed: SignedModel;
  readonly file: Uint8Array;
}

const TIMEOUT_MS = MINUTE_MS;
/** Larger ones are not taken, whatever the coordinator signs. */
export const PULL_BYTES_MAX = 512 * 1024 * 1024;

const parseSigned = (payload: Uint8Array): SignedModel => {
  try {
    return SignedModel.parse(JSON.parse(fromUtf8(payload)));
  } catch (cause) {
    throw new QflError('protocol', { detail: 'the coordinator sent no record of a model', cause });
  }
};

/** @throws QflError `protocol` for a piece that is longer or shorter than its place, so that a file cannot grow beyond its record */
const fetchFile = async (
  caller: ModelCaller,
  { name, version, bytes }: ModelRecord,
  signal: AbortSignal,
): Promise<Uint8Array> => {
  const file = new Uint8Array(bytes);
  for (let at = 0, index = 0; at < bytes; at += MODEL_CHUNK_BYTES, index += 1) {
    const { payload } = await caller.request(
      METHODS.modelChunk,
      { header: { name, version, index } },
      { timeoutMs: TIMEOUT_MS, signal },
    );
    if (payload.byteLength !== Math.min(MODEL_CHUNK_BYTES, bytes - at))
      throw new QflError('protocol', {
        detail: `piece ${index} of ${name} ${version} has ${payload.byteLength} bytes`,
        next: 'Try again; if it stays so, ask the federation operator.',
      });
    file.set(payload, at);
  }
  return file;
};

/**
 * @throws QflError `bad_signature` where the coordinator this site pins did not sign it, or the bytes are others than it signed; `conflict` for another
 * version than was asked for; `too_large`, `protocol`, and what the coordinator refuses
 */
export const fetchModel = async (
  caller: ModelCaller,
  trust: ModelTrust,
  asked: { readonly name: ModelName; readonly version: (typeof ModelRecordRequest.shape.version)['_output'] },
  signal: AbortSignal,
): Promise<FetchedModel> => {
  const { name, version } = asked;
  const { payload } = await caller.request(
    METHODS.modelRecord,
    { header: { name, version } },
    { timeoutMs: TIMEOUT_MS, signal },
  );
  const signed = parseSigned(payload);
  const record = verifyModel(trust, signed);
  checkAsked(record, name, typeof version === 'number' ? version : undefined);
  if (record.bytes > PULL_BYTES_MAX)
    throw new QflError('too_large', {
      detail: `${name} ${record.version} has ${record.bytes} bytes, and ${PULL_BYTES_MAX} are allowed`,
    });
  const file = await fetchFile(caller, record, signal);
  checkDigest(record, file);
  readSafetensors(file);
  return { record, signed, file };
};
