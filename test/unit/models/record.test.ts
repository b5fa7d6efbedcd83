/** A model's record: one spelling, two signatures, and no way to pass for another. */
import { describe, expect, test } from 'vitest';
import { always } from '../../../shared/crypto/signature.ts';
import {
  canonicalText,
  checkAsked,
  checkDigest,
  modelDigest,
  recordOf,
  signModel,
  verifyModel,
} from '../../../shared/models/record.ts';
import type { ModelRecord, SignedModel } from '../../../shared/wire/model.ts';
import { outcomeOf } from '../../fixtures/outcome.ts';
import { COORDINATOR, DIABETES, newVersion, STRANGER } from './fixture.ts';

const { file, name, lineage, metrics } = newVersion(1);
const record: ModelRecord = {
  v: 1,
  federation: 'test',
  name,
  version: 1,
  digest: modelDigest(file),
  bytes: file.byteLength,
  createdMs: 1_790_000_000_000,
  lineage,
  metrics: [...metrics],
};
const signed = signModel(COORDINATOR, record);
const trust = { federation: 'test', identitiesAt: always(COORDINATOR.publicKeys) };
const outcome = (one: SignedModel, other = trust): string => outcomeOf(() => verifyModel(other, one));
const broken = (signature: string): string => {
  const bytes = Buffer.from(signature, 'base64');
  bytes[bytes.length - 1]! ^= 1;
  return bytes.toString('base64');
};

describe('the record of a model', () => {
  test('has one spelling, whatever the order of its members, and fractions as RFC 8785 prints them', () => {
    expect(canonicalText({ b: [1e-7, 0.1, 1e21], a: { d: null, c: 'é' } })).toBe(
      '{"a":{"c":"é","d":null},"b":[1e-7,0.1,1e+21]}',
    );
    expect(canonicalText(Object.fromEntries(Object.entries(record).toReversed()))).toBe(signed.text);
  });

  test('comes back from its text as it was', () => {
    expect(recordOf(signed)).toEqual(record);
    expect(verifyModel(trust, signed)).toEqual(record);
  });

  test('is refused when a character or either signature is another one, or somebody else signed', () => {
    const { ed25519, mldsa65 } = signed.signature;
    expect(outcome({ ...signed, text: signed.text.replace('0.3', '0.2') })).toBe('bad_signature');
    expect(outcome({ ...signed, signature: { ed25519: broken(ed25519), mldsa65 } })).toBe('bad_signature');
    expect(outcome({ ...signed, signature: { ed25519, mldsa65: broken(mldsa65) } })).toBe('bad_signature');
    expect(outcome(signModel(STRANGER, record))).toBe('bad_signature');
    const half = signModel(STRANGER, record).signature;
    expect(outcome({ ...signed, signature: { ed25519, mldsa65: half.mldsa65 } })).toBe('bad_signature');
    expect(outcome(signed, { ...trust, federation: 'elsewhere' })).toBe('bad_signature');
    expect(outcome({ ...signed, text: '{' })).toBe('protocol');
    expect(outcome(signed)).toBe('done');
  });

  test('is of the version that was asked for, and of the bytes that came', () => {
    expect(outcomeOf(() => checkAsked(record, DIABETES, 1))).toBe('done');
    expect(outcomeOf(() => checkAsked(record, DIABETES, 2))).toBe('conflict');
    expect(outcomeOf(() => checkDigest(record, file))).toBe('done');
    const other = Buffer.from(file);
    other[other.length - 1]! ^= 1;
    expect(outcomeOf(() => checkDigest(record, other))).toBe('bad_signature');
    expect(outcomeOf(() => checkDigest(record, file.subarray(1)))).toBe('bad_signature');
  });

  test('counts under the keys of its time', () => {
    const rotated = (atMs: number) =>
      atMs < 1_795_000_000_000 ? [COORDINATOR.publicKeys] : [STRANGER.publicKeys];
    expect(outcome(signed, { ...trust, identitiesAt: rotated })).toBe('done');
    const late = signModel(COORDINATOR, { ...record, createdMs: 1_796_000_000_000 });
    expect(outcome(late, { ...trust, identitiesAt: rotated })).toBe('bad_signature');
  });

  test('is not larger than a message', () => {
    const values = Object.fromEntries(Array.from({ length: 400 }, (_, at) => [`figure ${at}`, Math.PI]));
    const many = Array.from({ length: 1_000 }, (_, step) => ({ step, values }));
    expect(outcomeOf(() => signModel(COORDINATOR, { ...record, metrics: many }))).toBe('too_large');
  });
});
