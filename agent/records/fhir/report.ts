/** What an import says about itself. Reasons carry no content; file names are the operator's own. */
import { z } from 'zod';
import type { ImportLimits } from '../limits.ts';

const Problem = z.strictObject({
  /** Path below the imported folder, with "/". */
  file: z.string(),
  line: z.number().int().optional(),
  /** Position in a bundle, from 1. */
  entry: z.number().int().optional(),
  /** `skipped`: what stands there was not imported. `noticed`: it was, or there was nothing to import. */
  severity: z.enum(['skipped', 'noticed']),
  reason: z.string(),
});
export type ImportProblem = z.infer<typeof Problem>;

const Counts = z.record(z.string(), z.number().int().nonnegative());

export const ImportReportShape = z.strictObject({
  /** Resources accepted per type, repeats included. */
  counts: Counts,
  /** Types this store does not keep, by name, and how many came. */
  unknownTypes: Counts,
  /** Resources removed by deletion entries. */
  deleted: z.number().int(),
  /** Problems with severity `skipped` and `noticed`, kept or not. */
  rejected: z.number().int(),
  /** Of the rejected, Consents: an opt-out may be among them, so somebody has to look. */
  consentsRejected: z.number().int(),
  noticed: z.number().int(),
  /** The first of them. */
  problems: z.array(Problem),
  files: z.number().int(),
  filesIgnored: z.number().int(),
});
export type ImportReport = z.infer<typeof ImportReportShape>;

export const emptyReport = (): ImportReport => ({
  counts: {},
  unknownTypes: {},
  deleted: 0,
  rejected: 0,
  consentsRejected: 0,
  noticed: 0,
  problems: [],
  files: 0,
  filesIgnored: 0,
});

export interface Reporter {
  accepted(type: string): void;
  unknownType(type: string): void;
  deleted(resources: number): void;
  /** @param type of the resource, where it is known */
  problem(problem: ImportProblem, type?: string): void;
  fileDone(): void;
  fileIgnored(): void;
  progress(): { readonly counts: Readonly<Record<string, number>>; readonly rejected: number };
  snapshot(): ImportReport;
}

const OTHER_TYPES = '(other)';

const increase = (counts: Record<string, number>, name: string): void => {
  counts[name] = (counts[name] ?? 0) + 1;
};

/** Continues from `start`, which a resumed import took from its checkpoint. */
export const createReporter = (limits: ImportLimits, start: ImportReport = emptyReport()): Reporter => {
  const report = structuredClone(start);
  return {
    accepted: (type) => increase(report.counts, type),
    unknownType(type) {
      const known = Object.hasOwn(report.unknownTypes, type);
      const room = Object.keys(report.unknownTypes).length < limits.unknownTypesMax;
      increase(report.unknownTypes, known || room ? type : OTHER_TYPES);
    },
    deleted: (resources) => void (report.deleted += resources),
    problem(problem, type) {
      if (problem.severity === 'skipped') report.rejected += 1;
      else report.noticed += 1;
      if (problem.severity === 'skipped' && type === 'Consent') report.consentsRejected += 1;
      if (report.problems.length < limits.problemsKeptMax) report.problems.push(problem);
    },
    fileDone: () => void (report.files += 1),
    fileIgnored: () => void (report.filesIgnored += 1),
    progress: () => ({ counts: { ...report.counts }, rejected: report.rejected }),
    snapshot: () => structuredClone(report),
  };
};
