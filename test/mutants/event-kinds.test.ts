/**
 * Each kind of privacy event under-priced a little, and the reference values that notice. A mutant here is a golden case whose event was made
 * weaker than the one its figures are of, which is what an accountant that gets the kind wrong would compute.
 */
import { describe, expect, test } from 'vitest';
import type { LossEvent } from '../../shared/privacy/loss-event.ts';
import { checkGolden, GoldenFile } from '../bench/golden.ts';
import { hasShared, readSharedJson, whyMissing } from '../fixtures/shared-data.ts';

const FILE = 'golden/dp-accounting.json';
/** Enough to notice; a whole run is test/unit/privacy/golden.test.ts. */
const CASES_MAX = 20;

type Fields = Readonly<Record<string, unknown>>;
type Weaker = (event: Fields) => Fields;

const scaled =
  (field: string, factor: number): Weaker =>
  (event) => {
    const value = event[field];
    return typeof value === 'number' ? { ...event, [field]: value * factor } : event;
  };
const dropped: Weaker = (event) => {
  const events = event['events'];
  return Array.isArray(events) && events.length > 1 ? { ...event, events: events.slice(1) } : event;
};
const oneLess: Weaker = (event) => {
  const count = event['count'];
  return typeof count === 'number' && count > 1 ? { ...event, count: count - 1 } : event;
};

/** Every kind that the accountant knows: a new one does not compile here until it has its mutant. */
const WEAKER: Readonly<Record<LossEvent['type'], Weaker>> = {
  gaussian: scaled('noise_multiplier', 1.05),
  laplace: scaled('noise_multiplier', 1.05),
  discrete_gaussian: scaled('sigma', 1.05),
  discrete_laplace: scaled('noise_parameter', 0.95),
  randomized_response: scaled('noise_parameter', 1.05),
  exponential_mechanism: scaled('epsilon', 0.95),
  permute_and_flip: scaled('epsilon', 0.95),
  epsilon_delta: scaled('epsilon', 0.95),
  zcdp: scaled('rho', 0.95),
  tree_aggregation: scaled('noise_multiplier', 1.05),
  poisson_sampled: scaled('sampling_probability', 0.95),
  sampled_without_replacement: scaled('source_dataset_size', 1.2),
  composed: dropped,
  self_composed: oneLess,
  repeat_and_select: scaled('mean', 0.8),
};

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The value with every event of this type made weaker, and whether there was one. */
const weaken = (value: unknown, type: string, weaker: Weaker): { value: unknown; changed: boolean } => {
  if (Array.isArray(value)) {
    const parts = value.map((part) => weaken(part, type, weaker));
    return { value: parts.map((part) => part.value), changed: parts.some((part) => part.changed) };
  }
  if (!isFields(value)) return { value, changed: false };
  const own = value['type'] === type ? weaker(value) : value;
  const parts = Object.entries(own).map(([name, part]) => [name, weaken(part, type, weaker)] as const);
  return {
    value: Object.fromEntries(parts.map(([name, part]) => [name, part.value])),
    changed: own !== value || parts.some(([, part]) => part.changed),
  };
};

const failuresIn = (cases: Parameters<typeof checkGolden>[0]): number =>
  checkGolden(cases).reduce((sum, { failures }) => sum + failures.length, 0);

describe.skipIf(!hasShared(FILE))(`a kind of event that is under-priced${whyMissing(FILE)}`, () => {
  test.each(Object.entries(WEAKER))('%s is caught by reference values', (type, weaker) => {
    const cases = GoldenFile.parse(readSharedJson(FILE)).cases.filter(
      ({ kind }) => kind.startsWith('rdp_') || kind.startsWith('pld_'),
    );
    const mutants = cases
      .map((one) => ({ one, input: weaken(one.input, type, weaker) }))
      .filter(({ input }) => input.changed)
      .slice(0, CASES_MAX);
    expect(mutants.length).toBeGreaterThan(0);
    expect(failuresIn(mutants.map(({ one }) => one))).toBe(0);
    const weakened = mutants.map(({ one, input }) => ({ ...one, input: input.value }));
    expect(failuresIn(weakened)).toBeGreaterThan(0);
  });
});
