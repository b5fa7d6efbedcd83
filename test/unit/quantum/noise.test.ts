import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { runCircuit } from '../../../shared/quantum/apply.ts';
import { createCircuit, gate } from '../../../shared/quantum/circuit.ts';
import { certify, CHSH_CIRCUITS, SHOTS_PER_SETTING_MIN } from '../../../shared/quantum/chsh.ts';
import { purityOf, readOdds, runDephased, runNoisy, traceOf } from '../../../shared/quantum/density.ts';
import { sampleShots } from '../../../shared/quantum/sampling.ts';
import { probabilitiesOf } from '../../../shared/quantum/state.ts';
import { seeded } from '../../../shared/seeded.ts';
import { anyCircuit, ghz } from './circuits.ts';

describe('density matrices', () => {
  test('without noise they are the state', () => {
    fc.assert(
      fc.property(anyCircuit(4, 25), (circuit) => {
        const density = runNoisy(circuit);
        const odds = probabilitiesOf(runCircuit(circuit));
        readOdds(density).forEach((value, at) => expect(value).toBeCloseTo(odds[at]!, 10));
        expect(purityOf(density)).toBeCloseTo(1, 10);
      }),
      { numRuns: 60 },
    );
  });

  test('noise keeps the trace and never raises the purity above 1', () => {
    fc.assert(
      fc.property(
        anyCircuit(4, 20),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (circuit, depolarising, amplitudeDamping) => {
          const density = runNoisy(circuit, { depolarising, amplitudeDamping });
          expect(traceOf(density)).toBeCloseTo(1, 10);
          expect(purityOf(density)).toBeLessThan(1 + 1e-10);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('closed forms: one X', () => {
    const flip = createCircuit(1, [gate('x', [0])]);
    expect(readOdds(runNoisy(flip, { depolarising: 0.3 }))[1]).toBeCloseTo(1 - 0.15, 12);
    expect(readOdds(runNoisy(flip, { amplitudeDamping: 0.3 }))[1]).toBeCloseTo(0.7, 12);
    const plus = createCircuit(1, [gate('h', [0])]);
    // ρ01 shrinks by √(1 − γ).
    expect(runNoisy(plus, { amplitudeDamping: 0.36 }).entries.re[1]).toBeCloseTo(0.5 * 0.8, 12);
  });

  test('dephased after every gate nothing interferes: H twice stays even', () => {
    const twice = createCircuit(1, [gate('h', [0]), gate('h', [0])]);
    expect(readOdds(runNoisy(twice))[0]).toBeCloseTo(1, 12);
    expect(readOdds(runDephased(twice))[0]).toBeCloseTo(0.5, 12);
  });

  test('too many qubits and odds outside [0, 1] are refused', () => {
    expect(() => runNoisy(ghz(13))).toThrow(expect.objectContaining({ code: 'invalid_request' }));
    expect(() => runNoisy(ghz(2), { depolarising: 1.5 })).toThrow(
      expect.objectContaining({ code: 'invalid_request' }),
    );
  });
});

describe('shots', () => {
  const odds = probabilitiesOf(runCircuit(ghz(3)));

  test('repeat with the seed, sum up, and follow the odds', () => {
    const counts = sampleShots(odds, 100_000, seeded(7));
    expect(sampleShots(odds, 100_000, seeded(7))).toEqual(counts);
    expect(new Set(counts.keys())).toEqual(new Set([0, 7]));
    expect([...counts.values()].reduce((sum, count) => sum + count, 0)).toBe(100_000);
    // Six standard deviations.
    expect(Math.abs((counts.get(0) ?? 0) - 50_000)).toBeLessThan(6 * 158);
  });

  test('readout errors flip each bit on its own', () => {
    const zero = Float64Array.of(1, 0, 0, 0);
    const counts = sampleShots(zero, 200_000, seeded(8), { zeroAsOne: 0.1, oneAsZero: 0 });
    expect((counts.get(0) ?? 0) / 200_000).toBeCloseTo(0.81, 2);
    expect((counts.get(3) ?? 0) / 200_000).toBeCloseTo(0.01, 2);
  });
});

describe('CHSH', () => {
  const certificate = (depolarising: number, seed: number) => {
    const counts = CHSH_CIRCUITS.map((circuit, at) =>
      sampleShots(readOdds(runNoisy(circuit, { depolarising })), SHOTS_PER_SETTING_MIN, seeded(seed + at)),
    );
    return certify(counts, SHOTS_PER_SETTING_MIN);
  };

  test('the exact simulator reaches 2√2', () => {
    const { verdict, s, sigma } = certificate(0, 100);
    expect(verdict).toBe('passed');
    expect(Math.abs(s - 2 * Math.SQRT2)).toBeLessThan(5 * sigma);
  });

  test('a noisy one that is no better than classical fails', () => {
    expect(certificate(0.2, 200).verdict).toBe('failed');
  });

  test('more than quantum physics allows is suspicious', () => {
    const perfect = [0, 0, 0, 1].map((odd) => new Map([[odd, SHOTS_PER_SETTING_MIN]]));
    expect(certify(perfect, SHOTS_PER_SETTING_MIN).verdict).toBe('suspicious');
  });

  test('coins do not pass', () => {
    const coin = (seed: number) => sampleShots(Float64Array.of(0.25, 0.25, 0.25, 0.25), 4_096, seeded(seed));
    expect(certify([1, 2, 3, 4].map(coin), 4_096).verdict).toBe('failed');
  });
});
