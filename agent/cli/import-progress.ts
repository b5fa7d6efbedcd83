/** How an import looks on a terminal: a bar while it runs, a table when it is done. */
import { SingleBar } from 'cli-progress';
import type { ImportProgress, ImportResult } from '../records/import-fhir.ts';

export interface ImportProgressBar {
  readonly onProgress: (progress: ImportProgress) => void;
  /** Leaves the terminal as it was. Call it on failure too. */
  stop(): void;
}

const FILE_WIDTH = 32;
const PROBLEMS_SHOWN = 20;

const total = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0);

const shortened = (name: string): string =>
  (name.length > FILE_WIDTH ? `…${name.slice(1 - FILE_WIDTH)}` : name).padEnd(FILE_WIDTH);

/** @param stream usually stderr; on one that is no terminal nothing is drawn */
export const createImportProgressBar = (stream: NodeJS.WriteStream): ImportProgressBar => {
  const bar = new SingleBar({
    stream,
    format: '{file} [{bar}] {percentage}% · {resources} resources · {rejected} rejected',
    hideCursor: true,
    clearOnComplete: true,
  });
  let started = false;
  return {
    onProgress({ file, bytesDone, bytesTotal, counts, rejected }) {
      const payload = { file: shortened(file), resources: total(counts).toLocaleString('en'), rejected };
      if (!started) bar.start(bytesTotal, bytesDone, payload);
      else bar.update(bytesDone, payload);
      started = true;
    },
    stop: () => bar.stop(),
  };
};

const placeOf = ({ file, line, entry }: ImportResult['problems'][number]): string =>
  `${file}${line === undefined ? '' : `:${line}`}${entry === undefined ? '' : ` entry ${entry}`}`;

const problemLines = ({ problems, rejected, noticed }: ImportResult): readonly string[] => {
  const shown = problems
    .slice(0, PROBLEMS_SHOWN)
    .map((problem) => `  ${problem.severity}  ${placeOf(problem)}  ${problem.reason}`);
  const hidden = rejected + noticed - shown.length;
  return hidden > 0 ? [...shown, `  … and ${hidden} more`] : shown;
};

const countLines = (counts: Readonly<Record<string, number>>): readonly string[] =>
  Object.entries(counts)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([type, count]) => `  ${type.padEnd(28)}${count.toLocaleString('en').padStart(12)}`);

/** Only where admissions are known at all. */
const blockLines = ({ blocks }: ImportResult): readonly string[] => {
  if (blocks.assigned === 0) return [];
  const { assigned, withoutBlock, personsInSeveral, blocksPerPersonMost } = blocks;
  return [
    `Data blocks: ${assigned.toLocaleString('en')} patient records have an admission month, ${withoutBlock.toLocaleString('en')} have none and are not read while data blocks are on.`,
    ...(personsInSeveral === 0
      ? []
      : [
          `${personsInSeveral.toLocaleString('en')} persons stand in several blocks (at most ${blocksPerPersonMost}), because their records were linked later: they are read only when all of them are charged.`,
        ]),
  ];
};

/** The result for a person: counts per type, what was left out, and where. */
export const formatImportResult = (result: ImportResult): string =>
  [
    `${total(result.counts).toLocaleString('en')} resources from ${result.files} files${result.resumed ? ' (continued an earlier import)' : ''}`,
    ...countLines(result.counts),
    ...(result.deleted > 0 ? [`  deleted                     ${String(result.deleted).padStart(12)}`] : []),
    ...(total(result.unknownTypes) > 0
      ? ['Types that are not kept:', ...countLines(result.unknownTypes)]
      : []),
    ...(result.consentsRejected > 0
      ? [
          `${result.consentsRejected} consents could not be read: an opt-out may be among them. Correct them before the next query.`,
        ]
      : []),
    ...blockLines(result),
    ...(result.rejected + result.noticed > 0
      ? [`${result.rejected} skipped, ${result.noticed} noticed:`, ...problemLines(result)]
      : []),
  ].join('\n');
