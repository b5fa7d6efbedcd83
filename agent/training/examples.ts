/**
 * A site's patients as examples. Reading and decrypting all records takes far longer than a step of a training, so what was read stays in memory for the
 * rounds that follow, as long as nothing is written to the records; an import, an opt-out or a deletion between two rounds is read anew.
 */
import { breathe } from '../../shared/breathe.ts';
import { type Clock, MINUTE_MS } from '../../shared/clock.ts';
import { rawExample, type RawExample, standardise } from '../../shared/learning/features.ts';
import type { Example } from '../../shared/learning/model.ts';
import type { Steps } from '../../shared/rounds/slowly.ts';
import type { LearningData, Scaling } from '../../shared/wire/learning.ts';
import type { Records } from '../records/store.ts';
import { walkFacts } from './facts.ts';

const PATIENTS_PER_TURN = 16;
/** Numbers that are kept in memory at most: 512 MiB. */
const KEPT_NUMBERS_MAX = 64 * 1_048_576;
const KEPT_MS = 10 * MINUTE_MS;

export interface SitePatient {
  readonly raw: RawExample;
  /** In [0, 1), by the patient's blinded key: the same in each round. */
  readonly place: number;
}

export interface ExamplesAsked {
  readonly data: LearningData;
  readonly today: string;
  readonly blocks: readonly string[] | undefined;
}

export interface Examples {
  /** Everybody whose target is known. Reads records; called after the charge. */
  read(asked: ExamplesAsked, signal: AbortSignal): Promise<readonly SitePatient[]>;
}

const numbersIn = ({ raw: { inputs, series } }: SitePatient): number =>
  inputs.length + (series === undefined ? 0 : series.values.length + series.hours.length);

const PLACE_DIGITS = 12;
/** A key is a keyed hash, so its digits are uniform. */
const placeOf = (key: string): number => Number.parseInt(key.slice(0, PLACE_DIGITS), 16) / 16 ** PLACE_DIGITS;

/** What a model sees of each patient; a step a patient. */
export const standardising = function* (
  patients: readonly SitePatient[],
  scaling: Scaling,
): Steps<Example[]> {
  const examples: Example[] = [];
  for (const { raw } of patients) {
    examples.push(standardise(raw, scaling));
    yield;
  }
  return examples;
};

export const createExamples = (records: Records, clock: Clock): Examples => {
  let kept: { key: string; revision: number; untilMs: number; patients: readonly SitePatient[] } | undefined;

  const readAll = async (asked: ExamplesAsked, signal: AbortSignal): Promise<SitePatient[]> => {
    const patients: SitePatient[] = [];
    let visited = 0;
    for await (const { key, facts } of walkFacts(records, asked.data, asked, signal)) {
      const raw = rawExample(facts, asked.data);
      if (raw !== undefined) patients.push({ raw, place: placeOf(key) });
      visited += 1;
      if (visited % PATIENTS_PER_TURN === 0) await breathe();
    }
    return patients;
  };

  return {
    async read(asked, signal) {
      const key = JSON.stringify(asked);
      const revision = records.revision();
      const nowMs = clock.monotonicMs();
      if (kept?.key === key && kept.revision === revision && nowMs < kept.untilMs) return kept.patients;
      kept = undefined;
      const patients = await readAll(asked, signal);
      const numbers = patients.reduce((sum, one) => sum + numbersIn(one), 0);
      if (numbers <= KEPT_NUMBERS_MAX) {
        const entry = { key, revision, untilMs: clock.monotonicMs() + KEPT_MS, patients };
        kept = entry;
        setTimeout(() => {
          if (kept === entry) kept = undefined;
        }, KEPT_MS).unref();
      }
      return patients;
    },
  };
};
