/**
 * Hospitals in one process that train as programs do: the shipped rounds with masks and noise of the discrete Gaussian, and a ledger on disk at each hospital that is
 * charged before its patients are looked at. Each training has ledgers of its own, whose whole budget is what the training was asked with: were it to
 * cost more, they would refuse it.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  createLedger,
  DEFAULT_LIMITS,
  type Ledger,
  type LedgerLimits,
  openLedger,
} from '../../agent/budget/ledger.ts';
import { nodeLedgerFolder } from '../../agent/budget/node-disk.ts';
import { createLearners } from '../../agent/rounds/learning.ts';
import { workersOf } from '../../agent/rounds/work.ts';
import { runTraining } from '../../coordinator/rounds/training.ts';
import { withSites } from '../../coordinator/rounds/training-plan.ts';
import { assert } from '../../shared/errors.ts';
import { systemClock } from '../../shared/clock.ts';
import { Pseudonym, SiteId, TaskId } from '../../shared/ids.ts';
import type { RawExample } from '../../shared/learning/features.ts';
import { publicScaling } from '../../shared/learning/moments.ts';
import { microEpsilon } from '../../shared/privacy/epsilon.ts';
import { randomHex, secureRandomBytes } from '../../shared/random.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { isOfSites, type TrainingRequest } from '../../shared/wire/training.ts';
import { type LocalFederation, startLocalFederation } from '../unit/rounds/federation.ts';
import type { LearntModel } from './learning-methods.ts';

const BYTES_KEPT = 256 * 1_024;
/** Ledgers count at one Renyi order, in tenths: what a training costs there is a little more than at the best of all orders. */
const LEDGER_SLACK = 1.01;
const AMPLE_EPSILON = 1e6;

/** Where a site is the unit, its ledger only counts. */
const limitsOf = ({ strategy, epsilon, delta, department }: TrainingRequest): LedgerLimits => {
  const whole = Math.ceil((isOfSites(strategy) ? AMPLE_EPSILON : LEDGER_SLACK * epsilon) * 1_000_000);
  const limit = { microEpsilon: microEpsilon(whole), delta: delta.toExponential() };
  return {
    ...DEFAULT_LIMITS,
    microEpsilonPerQueryMax: limit.microEpsilon,
    userDay: limit,
    departmentDay: { [department]: limit },
    askingSiteDay: limit,
    siteLifetime: limit,
  };
};

const openOne = async (folder: string, limits: LedgerLimits): Promise<Ledger> => {
  await mkdir(folder);
  const place = {
    folder: await nodeLedgerFolder(folder),
    dataKey: secureRandomBytes(32),
    clock: systemClock,
    site: SiteId.parse('hospital'),
  };
  await createLedger({ ...place, limits });
  return openLedger({
    ...place,
    store: createMemoryStore(),
    freeBytesFloor: BYTES_KEPT,
    reserveBytes: BYTES_KEPT,
  });
};

type Patients = readonly (readonly RawExample[])[];

const startFederation = (patients: Patients, ledgers: readonly Ledger[]): Promise<LocalFederation> =>
  startLocalFederation(patients.length, {
    allowsSiteUnit: true,
    ledgerAt: (site) => ledgers[site]!,
    workersAt(site) {
      const own = patients[site]!.map((raw) => ({ raw, place: 1 }));
      const examples = { read: () => Promise.resolve(own) };
      return workersOf(...createLearners({ examples, random: secureRandomBytes, blocks: () => undefined }));
    },
  });

const trainWith = async (federation: LocalFederation, request: TrainingRequest): Promise<LearntModel> => {
  const names = federation.hospitals.map(({ site }) => site);
  const made: Float64Array[] = [];
  const { scaling } = await runTraining(
    withSites(request, names),
    {
      rounds: federation.rounds,
      store: createMemoryStore(),
      sitesNow: () => names,
      isStopping: () => false,
      // A result tells few weights; whoever keeps models is handed all.
      register({ weights }) {
        made.push(weights);
        return Promise.resolve({ name: 'bench', version: 1, digest: '' });
      },
    },
    {
      task: TaskId.parse(randomHex(secureRandomBytes, 16)),
      asker: Pseudonym.parse('a'.repeat(32)),
      signal: new AbortController().signal,
      progress: () => undefined,
    },
  );
  const [weights] = made;
  assert(weights !== undefined, 'a training that is done hands its model over');
  return { weights, scaling: scaling ?? publicScaling(request.data) };
};

/** @param patients of each site @throws QflError what the training throws */
export const trainFederation = async (request: TrainingRequest, patients: Patients): Promise<LearntModel> => {
  const root = await mkdtemp(path.join(tmpdir(), 'qfl-learning-'));
  const limits = limitsOf(request);
  const ledgers: Ledger[] = [];
  for (const site of patients.keys()) ledgers.push(await openOne(path.join(root, String(site)), limits));
  const federation = await startFederation(patients, ledgers);
  try {
    return await trainWith(federation, request);
  } finally {
    await federation.close();
    for (const ledger of ledgers) await ledger.close();
    await rm(federation.folder, { recursive: true, force: true });
    await rm(root, { recursive: true, force: true });
  }
};
