import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalCohort, type Cohort, parseCohort } from '../../../agent/records/cohort.ts';
import { QflError } from '../../../shared/errors.ts';
import { daysOf } from '../../../agent/records/dates.ts';

const token = fc.stringMatching(/^[A-Za-z0-9.-]{1,20}$/);
const conditions = fc.array(
  fc.oneof(
    fc.record({ field: fc.constant('code' as const), code: token }),
    fc.record({ field: fc.constant('code' as const), system: fc.constant('http://loinc.org'), code: token }),
    fc.record({ field: fc.constant('status' as const), value: token }),
    fc.record({
      field: fc.constant('gender' as const),
      value: fc.constantFrom('male' as const, 'female' as const),
    }),
  ),
  { maxLength: 6 },
);

/** The error code, undefined when it returns, 'other' for an error that is not typed. */
const codeOf = (action: () => unknown): string | undefined => {
  try {
    action();
    return undefined;
  } catch (error) {
    return error instanceof QflError ? error.code : 'other';
  }
};

describe('cohort properties', () => {
  it('has one canonical text whatever the order and repetition, and reads it back', () => {
    fc.assert(
      fc.property(conditions, fc.nat(), (where, seed) => {
        const cohort: Cohort = parseCohort({ resource: 'Observation', where });
        const turn = where.length === 0 ? 0 : seed % where.length;
        const shuffled = [...where.slice(turn), ...where.slice(0, turn)].toReversed();
        const repeated = parseCohort({
          resource: 'Observation',
          where: [...shuffled, ...shuffled.slice(0, 2)],
        });
        expect(canonicalCohort(repeated)).toBe(canonicalCohort(cohort));
        expect(canonicalCohort(parseCohort(JSON.parse(canonicalCohort(cohort))))).toBe(
          canonicalCohort(cohort),
        );
      }),
    );
  });

  it('gives every calendar day its successor', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('1000-01-02'), max: new Date('9998-12-30'), noInvalidDate: true }),
        (date) => {
          const text = date.toISOString().slice(0, 10);
          const days = daysOf(text);
          expect(days?.first).toBe(text);
          expect(Date.parse(days!.after) - Date.parse(text)).toBe(86_400_000);
        },
      ),
    );
  });

  it('never throws anything but a typed refusal on a text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `Condition?${text}`),
          fc.json(),
        ),
        (text) => {
          expect(codeOf(() => parseCohort(text))).toBeOneOf([undefined, 'invalid_request']);
        },
      ),
    );
  });
});
