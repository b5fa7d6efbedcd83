import { describe, expect, test } from 'vitest';
import {
  committedRecord,
  decodeRecord,
  encodeRecord,
  reservedRecord,
} from '../../../agent/budget/records.ts';
import { canonicalJson } from '../../../shared/audit/canonical.ts';
import { fromUtf8 } from '../../../shared/bytes.ts';
import { discreteGaussian, thresholdedHistogram } from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { request } from './fixture.ts';

const costsWith = (delta: bigint) => ({
  site_lifetime: [1n, delta],
  asking_site_day: [2n, delta],
  department_day: [3n, delta],
  user_day: [4n, delta],
});
const costs = costsWith(0n);
const onCurve = [5n, 6n, 7n, 8n];
const curveCosts = {
  site_lifetime: onCurve,
  asking_site_day: onCurve,
  department_day: onCurve,
  user_day: onCurve,
};
const gaussian = discreteGaussian(rational(2n), rational(9n, 4n));
const mechanisms = [
  ...request().mechanisms,
  gaussian,
  thresholdedHistogram(gaussian, { keysPerPatient: 2n, threshold: 40n }),
];
const records = [
  reservedRecord(request(), { ...request(), day: 20_000, costs, blocks: [] }, mechanisms, 1_700_000_000_000),
  reservedRecord(
    request(),
    { ...request(), day: 20_000, costs: curveCosts, blocks: ['2026-02', '2026-03'] },
    mechanisms,
    1_700_000_000_000,
  ),
  reservedRecord(
    request(),
    { ...request(), day: 20_000, costs: costsWith(9n), blocks: [] },
    mechanisms,
    1_700_000_000_000,
  ),
  committedRecord(17, 1_700_000_000_001),
  { type: 'refunded', reserved: 17, reason: 'queue_full', atMs: 3 } as const,
];

describe('records', () => {
  test.each(records)('$type: canonical JSON, then the answer; and back', (record) => {
    const answer = Buffer.from('sealed answer');
    const payload = Buffer.from(encodeRecord(record, answer));
    const jsonBytes = payload.readUInt32BE();
    expect(fromUtf8(payload.subarray(4, 4 + jsonBytes))).toBe(canonicalJson(record));
    const decoded = decodeRecord(payload);
    expect(decoded.record).toEqual(record);
    expect(Buffer.from(decoded.answer)).toEqual(answer);
  });
});
