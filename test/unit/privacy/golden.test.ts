import { describe, expect, test } from 'vitest';
import { checkGolden, GoldenFile } from '../../bench/golden.ts';
import { hasShared, readSharedJson, whyMissing } from '../../fixtures/shared-data.ts';

const FILE = 'golden/dp-accounting.json';

/** Kinds that must be checked in full, and how many cases this program cannot price yet. */
const BUILT: Readonly<Record<string, number>> = {
  discrete_laplace: 0,
  discrete_gaussian: 0,
  discrete_laplace_rdp: 0,
  discrete_gaussian_rdp_exact: 0,
  filter_budget: 0,
  // The four replays of the rule `rdp_curve`.
  filter_replay: 4,
  float_accumulation: 0,
};

describe('reference values', () => {
  test.skipIf(!hasShared(FILE))(`every case of every kind built passes${whyMissing(FILE)}`, () => {
    const built = checkGolden(GoldenFile.parse(readSharedJson(FILE)).cases).filter((kind) => kind.built);
    expect(built.flatMap(({ failures }) => failures)).toEqual([]);
    expect(Object.fromEntries(built.map(({ kind, unsupported }) => [kind, unsupported]))).toEqual(BUILT);
    for (const { cases, passed, unsupported } of built) expect(passed + unsupported).toBe(cases);
  });
});
