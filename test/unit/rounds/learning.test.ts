/** Trainings over the shipped rounds of a coordinator and hospitals in one process: what they learn, what they cost, and who is left out. */
import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { createLearners } from '../../../agent/rounds/learning.ts';
import { workersOf } from '../../../agent/rounds/work.ts';
import type { Examples, SitePatient } from '../../../agent/training/examples.ts';
import { runTraining } from '../../../coordinator/rounds/training.ts';
import { withSites } from '../../../coordinator/rounds/training-plan.ts';
import { toBase64 } from '../../../shared/bytes.ts';
import { blake2b, HASH_BYTES } from '../../../shared/crypto/hash.ts';
import { Pseudonym, TaskId } from '../../../shared/ids.ts';
import { standardisedBounds } from '../../../shared/learning/features.ts';
import { distributedRho } from '../../../shared/privacy/distributed.ts';
import { rhoBudget } from '../../../shared/privacy/conversion.ts';
import { LABELS } from '../../../shared/rounds/fields.ts';
import { RoundShares } from '../../../shared/rounds/messages.ts';
import { seeded } from '../../../shared/seeded.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { METHODS } from '../../../shared/wire/session.ts';
import { TrainingRequest, type TrainingResult } from '../../../shared/wire/training.ts';
import { type LocalFederation, startLocalFederation } from './federation.ts';

let federation: LocalFederation;
afterEach(() => federation.close());

const PATIENTS = 400;
const DATA = {
  target: 'outcome',
  features: [
    { kind: 'observation', code: 'pressure', low: 0, high: 200 },
    { kind: 'sex', is: 'female' },
  ],
};
/** Pressure tells the outcome, sex does not; the hospitals differ in their mean pressure. */
const patientsOf = (at: number): SitePatient[] => {
  const random = seeded(at + 1);
  return Array.from({ length: PATIENTS }, () => {
    const pressure = 80 + 10 * at + 60 * random.uniform();
    const isIll = random.uniform() < 1 / (1 + Math.exp(-(pressure - 125) / 6));
    return {
      raw: {
        inputs: Float64Array.of(pressure, random.uniform() < 0.5 ? 1 : 0),
        series: undefined,
        target: isIll ? 1 : 0,
      },
      place: random.uniform(),
    };
  });
};
const learnersAt = (at: number) => {
  const patients = patientsOf(at);
  const examples: Examples = { read: () => Promise.resolve(patients) };
  return workersOf(
    ...createLearners({ examples, random: (size) => randomBytes(size), blocks: () => undefined }),
  );
};
const start = (count: number, rest = {}): Promise<LocalFederation> =>
  startLocalFederation(count, { workersAt: learnersAt, ...rest });

const train = (request: object): Promise<TrainingResult> => {
  const sites = federation.hospitals.map(({ site }) => site);
  const whole = withSites(TrainingRequest.parse({ data: DATA, silenceMs: 5_000, ...request }), sites);
  return runTraining(
    whole,
    {
      rounds: federation.rounds,
      store: createMemoryStore(),
      sitesNow: () => sites,
      isStopping: () => false,
    },
    {
      task: TaskId.parse('0'.repeat(32)),
      asker: Pseudonym.parse('a'.repeat(32)),
      signal: new AbortController().signal,
      progress: () => undefined,
    },
  );
};
/** rho that a hospital charged in all. */
const chargedRho = (at: number): number =>
  federation.hospitals[at]!.charges.flatMap(({ mechanisms }) => mechanisms).reduce(
    (sum, mechanism) => sum + (mechanism.kind === 'distributed_gaussian' ? distributedRho(mechanism) : NaN),
    0,
  );

describe('a training of patients’ gradients', () => {
  it('standardises, learns, measures on patients it has not learnt from, and costs what it was asked with', async () => {
    federation = await start(4);
    const asked = { epsilon: 8, delta: 1e-5, rounds: 8, learningRate: 2 };
    const { scaling, steps, evaluation, unit } = await train(asked);
    // Hospitals with means of 110, 120, 130 and 140.
    expect(scaling!.mean[0]).toBeGreaterThan(120);
    expect(scaling!.mean[0]).toBeLessThan(130);
    expect([scaling!.mean[1], scaling!.sd[1]]).toEqual([0, 1]);
    expect(standardisedBounds(TrainingRequest.parse({ data: DATA, epsilon: 1 }).data)[1]).toBeUndefined();
    expect([steps.length, unit]).toEqual([8, 'patient']);
    expect(steps.at(-1)!.accuracy!).toBeGreaterThan(0.8);
    expect(steps[0]!.patients / (4 * PATIENTS)).toBeCloseTo(0.8, 1);
    expect(evaluation!.patients / (4 * PATIENTS)).toBeCloseTo(0.2, 1);
    expect(evaluation!.auc!).toBeGreaterThan(0.85);
    const whole = rhoBudget(asked.epsilon, asked.delta);
    for (const at of [0, 1, 2, 3]) {
      expect(chargedRho(at)).toBeLessThan(whole * 1.000001);
      expect(chargedRho(at)).toBeGreaterThan(whole * 0.99);
    }
  });

  it.each(['fedadam', 'fedyogi'])('steps by %s', async (strategy) => {
    federation = await start(3);
    const { steps } = await train({
      strategy,
      epsilon: 20,
      rounds: 12,
      learningRate: 0.3,
      momentum: 0.5,
      evaluate: null,
    });
    expect(steps.at(-1)!.loss!).toBeLessThan(0.85 * steps[0]!.loss!);
  });

  it('gives the mean of the last weights where it is asked for', async () => {
    federation = await start(3);
    const asked = { epsilon: 100, rounds: 3, standardise: null, evaluate: null };
    const last = await train({ ...asked, averageLast: 3 });
    expect(last.weights).toHaveLength(3);
    expect(last.weights!.every(Number.isFinite)).toBe(true);
  });
});

describe('a training of the sites themselves', () => {
  const bySites = { strategy: 'fedavg', epsilon: 1e6, rounds: 3, clip: 20, learningRate: 1 };

  it('is refused by a hospital that does not allow it', async () => {
    federation = await start(3);
    await expect(train({ ...bySites, standardise: null })).rejects.toThrow(/without a sum/);
  });

  it.each(['fedavg', 'fedprox'])(
    'by %s averages what they learnt, and says whose privacy it keeps',
    async (strategy) => {
      federation = await start(4, { allowsSiteUnit: true });
      const local = { epochs: 3, learningRate: 0.05, proximal: strategy === 'fedprox' ? 0.1 : 0 };
      const { steps, unit, evaluation } = await train({ ...bySites, strategy, local });
      expect(unit).toBe('site');
      expect(steps[0]!.patients).toBeCloseTo(4, 1);
      expect(steps.at(-1)!.loss!).toBeLessThan(0.8 * steps[0]!.loss!);
      expect(evaluation!.auc!).toBeGreaterThan(0.85);
    },
  );

  it('counts each by its patients up to a public bound', async () => {
    federation = await start(3, { allowsSiteUnit: true });
    const local = { patientsMax: 2 * PATIENTS };
    const { steps } = await train({ ...bySites, local, rounds: 1, evaluate: null });
    expect(steps[0]!.patients).toBeCloseTo(1.5, 1);
  });
});

describe('a hospital whose boxes the others cannot open', () => {
  /** South deals the others nothing they can open, in each round. */
  const spoil = (site: string): void => {
    federation.line.toCoordinator = (_, __, message) => message;
    const liar = federation.hospitals.find((one) => one.site === site)!;
    const handler = liar.rounds.handlers[METHODS.roundShares];
    if (handler?.kind !== 'plain') throw new Error('no such call');
    const honest = handler.answer.bind(handler);
    Object.assign(handler, {
      answer: async (call: Parameters<typeof honest>[0]) => {
        const reply = await honest(call);
        const shares = RoundShares.parse(JSON.parse(Buffer.from(reply.payload!).toString()));
        const boxes = shares.boxes.map((box) => (box === null ? null : toBase64(randomBytes(200))));
        const payload = Buffer.from(JSON.stringify({ ...shares, boxes }));
        const signed = liar.identity.sign(LABELS.shares, blake2b(HASH_BYTES, payload));
        return { header: { signature: toBase64(signed) }, payload };
      },
    });
  };

  it('is left out of the next round, and the training stays within its budget', async () => {
    federation = await start(5);
    spoil('hospital-c');
    const asked = { epsilon: 20, delta: 1e-5, rounds: 4, evaluate: null };
    const { steps, without, failedRounds } = await train(asked);
    expect(without).toEqual(['hospital-c']);
    expect(steps.length + failedRounds).toBe(4);
    expect(steps.length).toBeGreaterThan(0);
    for (const { survivors } of steps) expect(survivors).toBe(4);
    for (const at of [0, 1, 3, 4]) expect(chargedRho(at)).toBeLessThan(rhoBudget(20, 1e-5) * 1.000001);
  });
});
