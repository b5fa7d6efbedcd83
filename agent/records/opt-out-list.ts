/** A text file of patients who opted out: one FHIR Patient id per line, `#` starts a comment. */
import { QflError } from '../../shared/errors.ts';
import { FhirId } from './fhir/mapping.ts';
import type { Records } from './store.ts';

/**
 * Opts out everyone on the list; the number of ids. Nobody is opted out when a line is not an id, so that a damaged
 * list is noticed rather than half applied.
 * @throws QflError `invalid_request` with the line number
 */
export const applyOptOutList = async (records: Records, text: string): Promise<number> => {
  const ids = text.split(/\r?\n/).flatMap((line, index) => {
    const id = line
      .replace(/#.*$/, '')
      .trim()
      .replace(/^Patient\//, '');
    if (id === '') return [];
    if (FhirId.safeParse(id).success) return [id];
    throw new QflError('invalid_request', {
      detail: `line ${index + 1} of the opt-out list is not a patient id`,
      next: 'Write one FHIR Patient id per line; nobody on this list was opted out yet.',
    });
  });
  for (const id of ids) await records.optOut(id);
  return ids.length;
};
