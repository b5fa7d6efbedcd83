/**
 * `ask`: how right answers over records are, against the exact counts, at ε 0.1, 0.5, 1 and 3 (priced as pure queries, ρ = ε²/2).
 * Units: precision and recall of listed terms, and errors in patients or percentage points. Input: a generated hospital of 10,000
 * patients and the 4,000 stays of PhysioNet 2012 set A, in encrypted LevelDB, through the planners that a running agent uses.
 * Baseline for choice C (concepts): the exact counts without a cut. Baseline for choice A (shards): choice C on the same question at
 * the same price. The reader of choice A is a fixed rule, not a language model: it names the terms that occur most in a shard's
 * text, the best a model could do there.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tallyShards, type ShardModel } from '../../agent/answer/ask-records/ask-shards.ts';
import { type Merged, shareOf } from '../../agent/answer/ask-records/compose.ts';
import { askMechanism, visibilityOf } from '../../agent/answer/ask-records/mechanism.ts';
import { SHARDS } from '../../agent/answer/ask-records/question.ts';
import { shardTexts } from '../../agent/answer/ask-records/shards.ts';
import { countConcepts, type ConceptPlan, planConcepts } from '../../agent/concepts/histogram.ts';
import { CONCEPTS } from '../../agent/concepts/list.ts';
import { createTermFinder } from '../../agent/concepts/match.ts';
import { parseQuestion, type TermQuestion } from '../../agent/concepts/parse.ts';
import { wordsOf } from '../../agent/concepts/words.ts';
import { microEpsilon, MICRO_PER_EPSILON } from '../../shared/privacy/epsilon.ts';
import type { DiscreteGaussian } from '../../shared/privacy/mechanism.ts';
import { prepareRelease } from '../../shared/privacy/release.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import type { TruePerson } from '../unit/ask/truth.ts';
import { AS_OF, type BenchHospital, generatedHospital, icuHospital } from './ask-hospitals.ts';

const EPSILONS = [0.1, 0.5, 1, 3];
const RUNS = 200;
const VISIBILITY_RUNS = 4_000;
const PATIENTS = 10_000;
const CONFIDENCE = 0.95;

export interface AskBenchOptions {
  readonly json: boolean;
  readonly patients?: number;
}

const LISTS: Readonly<Record<string, readonly (readonly [question: string, k: number])[]>> = {
  generated: [
    ['Which medications do patients with diabetes take?', 4],
    ['Which conditions do women over 60 have?', 4],
    ['Which medications do patients with heart failure take?', 4],
  ],
  icu: [
    ['Which observations do men over 70 have?', 4],
    ['Which observations do men over 70 have?', 16],
  ],
};
const SHARES: Readonly<Record<string, readonly string[]>> = {
  generated: [
    'How common is hypertension among women over 60 with heart failure?',
    'How many patients with diabetes take metformin?',
    'Do patients with COPD usually have hypertension?',
  ],
  icu: [
    'How common is lactate among women over 60?',
    'How common is mechanical ventilation among men under 50?',
    'How common is troponin in patients over 80?',
  ],
};

const find = createTermFinder(CONCEPTS);
const mechanismOf = (epsilon: number, sensitivitySquared: number): DiscreteGaussian =>
  askMechanism(microEpsilon(Math.round(epsilon * MICRO_PER_EPSILON)), BigInt(sensitivitySquared));

const released = async (mechanism: DiscreteGaussian, exact: readonly bigint[]): Promise<readonly bigint[]> =>
  (await prepareRelease(mechanism, exact.length, secureRandomBytes))(exact);

const parsed = (question: string, k: number): TermQuestion => {
  const read = parseQuestion(question, { find, asOf: AS_OF, k });
  if (read.kind !== 'terms') throw new Error(`not a term question: ${question}`);
  return read;
};

const holds = ({ codes }: TruePerson, ids: readonly string[]): boolean =>
  ids.some((id) => CONCEPTS.byId(id)?.codes.some(({ code }) => codes.has(code)) === true);

/** The people a question is about, by the test's own reading of the resources. */
const cohortOf = ({ truth }: BenchHospital, { cohort }: TermQuestion): readonly TruePerson[] =>
  truth.filter(
    (person) =>
      cohort.all.every((ids) => holds(person, ids)) &&
      !holds(person, cohort.none) &&
      (cohort.sex === null || person.gender === cohort.sex) &&
      (cohort.bornBefore === null || (person.birthDate !== '' && person.birthDate < cohort.bornBefore)) &&
      (cohort.bornFrom === null || person.birthDate >= cohort.bornFrom),
  );

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
const rounded = (value: number, digits = 3): number => Number(value.toFixed(digits));

interface Scored {
  readonly precision: number;
  readonly recall: number;
  readonly errorPatients: number;
  readonly errorFromCutPatients: number;
}

/** Shown terms against the terms that anybody of the cohort has. */
const score = (
  noisy: readonly bigint[],
  exact: readonly bigint[],
  truth: readonly number[],
  cut: bigint,
): Scored => {
  const shown = noisy.map((value) => value >= cut);
  const right = shown.filter((isShown, at) => isShown && truth[at]! > 0).length;
  const there = truth.filter((count) => count > 0).length;
  const all = shown.filter(Boolean).length;
  return {
    precision: all === 0 ? 1 : right / all,
    recall: there === 0 ? 1 : right / there,
    errorPatients: mean(
      noisy.flatMap((value, at) => (shown[at] ? [Math.abs(Number(value) - truth[at]!)] : [])),
    ),
    errorFromCutPatients: mean(exact.flatMap((value, at) => (shown[at] ? [truth[at]! - Number(value)] : []))),
  };
};

const listBench = async (hospital: BenchHospital, question: string, k: number) => {
  const asked = parsed(question, k);
  const plan: ConceptPlan = planConcepts(CONCEPTS, asked.cohort, asked.cells);
  const started = performance.now();
  const exact = await countConcepts(hospital.records, plan, CONCEPTS.name.hash);
  const countMs = performance.now() - started;
  const people = cohortOf(hospital, asked);
  const truth = plan.cells.map((id) => people.filter((person) => holds(person, [id])).length);
  const rows = [];
  for (const epsilon of EPSILONS) {
    const mechanism = mechanismOf(epsilon, plan.k);
    const { cut, reliableFrom } = visibilityOf([mechanism], plan.cells.length);
    const scores: Scored[] = [];
    for (let run = 0; run < RUNS; run += 1)
      scores.push(score(await released(mechanism, exact), exact, truth, cut));
    const above = exact.filter((value) => value >= reliableFrom).length;
    rows.push({
      epsilon,
      cut: Number(cut),
      reliableFrom: Number(reliableFrom),
      termsAtOrAboveIt: above,
      precision: rounded(mean(scores.map(({ precision }) => precision))),
      recall: rounded(mean(scores.map(({ recall }) => recall))),
      meanErrorPatients: rounded(mean(scores.map(({ errorPatients }) => errorPatients)), 1),
      ofItFromTheCutToK: rounded(mean(scores.map(({ errorFromCutPatients }) => errorFromCutPatients)), 1),
    });
  }
  const there = truth.filter((count) => count > 0).length;
  return {
    question,
    k,
    cohort: people.length,
    cells: plan.cells.length,
    termsThere: there,
    countMs: Math.round(countMs),
    rows,
  };
};

const shareBench = async (hospital: BenchHospital, question: string) => {
  const asked = parsed(question, 1);
  const plan = planConcepts(CONCEPTS, asked.cohort, asked.cells);
  const exact = await countConcepts(hospital.records, plan, CONCEPTS.name.hash);
  const people = cohortOf(hospital, asked);
  const of = asked.cells.count === 'share' ? asked.cells.of : [];
  const withIt = people.filter((person) => of.every((ids) => holds(person, ids))).length;
  const exactPercent = (100 * withIt) / Math.max(1, people.length);
  const rows = [];
  for (const epsilon of EPSILONS) {
    const mechanism = mechanismOf(epsilon, 1);
    const errors: number[] = [];
    let [told, covered] = [0, 0];
    for (let run = 0; run < RUNS; run += 1) {
      const merged: Merged = {
        cells: plan.cells,
        values: await released(mechanism, exact),
        mechanisms: [mechanism],
      };
      const share = shareOf(merged, CONFIDENCE);
      if (share === null) continue;
      told += 1;
      errors.push(Math.abs(share.percent - exactPercent));
      if (share.low <= exactPercent && exactPercent <= share.high) covered += 1;
    }
    rows.push({
      epsilon,
      told: rounded(told / RUNS),
      meanErrorPoints: rounded(mean(errors), 2),
      covered: told === 0 ? null : rounded(covered / told),
    });
  }
  return { question, cohort: people.length, with: withIt, exactPercent: rounded(exactPercent, 1), rows };
};

/** Smallest exact count that is shown in at least 95 % of runs; by trial, beside the formula that answers quote. */
const smallestSeen = async (cells: number) => {
  const mechanism = mechanismOf(0.1, 4);
  const { cut, reliableFrom } = visibilityOf([mechanism], cells);
  const noise = await released(
    mechanism,
    Array.from({ length: VISIBILITY_RUNS }, () => 0n),
  );
  let smallest = 0n;
  while (noise.filter((value) => value + smallest >= cut).length < 0.95 * VISIBILITY_RUNS) smallest += 1n;
  return {
    k: 4,
    rho: 0.005,
    cells,
    cut: Number(cut),
    measured: Number(smallest),
    quoted: Number(reliableFrom),
  };
};

/** Names what stands most often in the text. */
const countingReader =
  (cells: readonly string[], k: number): ShardModel =>
  ({ user }) => {
    const counts = new Map<string, number>();
    for (const { ids } of find(wordsOf(user)))
      for (const id of ids) if (cells.includes(id)) counts.set(id, (counts.get(id) ?? 0) + 1);
    const best = [...counts].toSorted((left, right) => right[1] - left[1]).slice(0, k);
    return Promise.resolve(JSON.stringify(best.map(([id]) => id)));
  };

const shardBench = async (hospital: BenchHospital, question: string, k: number) => {
  const cells = CONCEPTS.ofGroup('medications').map(({ id }) => id);
  const secret = secureRandomBytes(32);
  const started = performance.now();
  const texts = await shardTexts(hospital.records, { question, shards: SHARDS, secret, list: CONCEPTS });
  const readMs = performance.now() - started;
  const task = { question, terms: CONCEPTS.ofGroup('medications'), k };
  const exact = await tallyShards(countingReader(cells, k), texts, cells, task, {
    timeoutMs: 10_000,
    lanes: 1,
  });
  const rows = [];
  for (const epsilon of EPSILONS) {
    const mechanism = mechanismOf(epsilon, 2 * k);
    const { cut, reliableFrom } = visibilityOf([mechanism], cells.length);
    let shown = 0;
    for (let run = 0; run < RUNS; run += 1)
      shown += (await released(mechanism, exact)).filter((value) => value >= cut).length;
    rows.push({
      epsilon,
      cut: Number(cut),
      shardsNeeded: Number(reliableFrom),
      possible: Number(reliableFrom) <= SHARDS,
      termsShown: rounded(shown / RUNS, 1),
    });
  }
  const named = exact
    .map(Number)
    .filter((count) => count > 0)
    .toSorted((left, right) => right - left);
  return {
    question,
    k,
    shards: SHARDS,
    cells: cells.length,
    readMs: Math.round(readMs),
    shardsNamingTheTopTerms: named.slice(0, 5),
    rows,
  };
};

const measure = async (root: string, patients: number) => {
  const generated = await generatedHospital(root, patients);
  const icu = await icuHospital(root);
  try {
    const concepts = [];
    if (icu === undefined)
      console.error('../shared/data/icu-physionet2012 is not beside the project: left out');
    for (const [name, hospital] of [
      ['generated', generated],
      ['icu', icu],
    ] as const) {
      if (hospital === undefined) continue;
      const lists = [];
      for (const [question, k] of LISTS[name] ?? []) lists.push(await listBench(hospital, question, k));
      const shares = [];
      for (const question of SHARES[name] ?? []) shares.push(await shareBench(hospital, question));
      concepts.push({ hospital: hospital.name, patients: hospital.truth.length, lists, shares });
    }
    const visible = [];
    for (const cells of [20, 70, 200]) visible.push(await smallestSeen(cells));
    const question = 'Which medications do patients with diabetes take?';
    const shards = [await shardBench(generated, question, 1), await shardBench(generated, question, 3)];
    return { concepts, visible, shards };
  } finally {
    await generated.close();
    await icu?.close();
  }
};
type AskBenchResult = Awaited<ReturnType<typeof measure>>;

const rowText = (row: Readonly<Record<string, unknown>>): string =>
  `    ${Object.entries(row)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(' · ')}`;

const text = ({ concepts, visible, shards }: AskBenchResult): string =>
  [
    ...concepts.flatMap(({ hospital, patients, lists, shares }) => [
      `${hospital}, ${patients} patients`,
      ...[...lists, ...shares].flatMap(({ rows, ...about }) => [
        `  ${about.question}`,
        rowText({ ...about, question: '' }),
        ...rows.map(rowText),
      ]),
    ]),
    'smallest count seen in 95 % of runs',
    ...visible.map(rowText),
    'shards (choice A, a counting rule in the place of a model)',
    ...shards.flatMap(({ rows, ...about }) => [rowText(about), ...rows.map(rowText)]),
  ].join('\n');

/** Prints the figures, or one JSON object with `json`. */
export const run = async ({ json, patients = PATIENTS }: AskBenchOptions): Promise<AskBenchResult> => {
  const root = await mkdtemp(join(tmpdir(), 'qfl-bench-ask-'));
  try {
    const result = await measure(root, patients);
    console.log(json ? JSON.stringify({ bench: 'ask', ...result }) : text(result));
    return result;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
};
