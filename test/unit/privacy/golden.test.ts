import { describe, expect, test } from 'vitest';
import { checkGolden, GoldenFile } from '../../bench/golden.ts';
import { hasShared, readSharedJson, whyMissing } from '../../fixtures/shared-data.ts';

const FILE = 'golden/dp-accounting.json';
const KINDS = 37;
const CASES = 507;

describe('reference values', () => {
  test.skipIf(!hasShared(FILE))(`all ${CASES} cases of all ${KINDS} kinds pass${whyMissing(FILE)}`, () => {
    const results = checkGolden(GoldenFile.parse(readSharedJson(FILE)).cases);
    expect(results.flatMap(({ failures }) => failures)).toEqual([]);
    expect(results.filter(({ built, unsupported }) => !built || unsupported > 0)).toEqual([]);
    expect(results).toHaveLength(KINDS);
    expect(results.reduce((sum, { passed }) => sum + passed, 0)).toBe(CASES);
  });
});
