/** Gathers the changes of one file and writes them together with the checkpoint that says so. */
import type { ChangeOutcome, RecordChange } from '../draft.ts';
import type { ImportLimits } from '../limits.ts';
import type { Records } from '../store.ts';
import type { Checkpoints, FileState } from './checkpoint.ts';
import type { SourceFile } from './folder.ts';
import type { ImportProblem, Reporter } from './report.ts';
import type { PlacedUnit } from './units.ts';

export interface FileImport {
  readonly records: Records;
  readonly run: string;
  readonly file: SourceFile;
  readonly hash: string;
  readonly reporter: Reporter;
  readonly checkpoints: Checkpoints;
  readonly limits: ImportLimits;
  readonly signal: AbortSignal | undefined;
  readonly onBatch: () => void;
}

type Waiting = Pick<PlacedUnit, 'place'> & { readonly change: RecordChange };

const reportOutcome = (
  { reporter, file }: FileImport,
  { change, place }: Waiting,
  outcome: ChangeOutcome,
): void => {
  const type = change.kind === 'put' ? change.draft.type : change.type;
  const problem = (severity: ImportProblem['severity'], reason: string): void =>
    reporter.problem({ file: file.name, ...place, severity, reason }, type);
  if (outcome.kind === 'unresolved') problem('skipped', outcome.reason);
  else if (outcome.kind === 'deleted') reporter.deleted(outcome.resources);
  else if (outcome.kind === 'absent') problem('noticed', 'a deletion of a resource that is not here');
  else {
    reporter.accepted(type);
    if (outcome.kind === 'replaced' && outcome.duplicate) {
      problem('noticed', 'this id came before in this import with other content; the later one stays');
    }
  }
};

export class Batch {
  readonly #context: FileImport;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #units = 0;

  constructor(context: FileImport) {
    this.#context = context;
  }

  add({ place, bytes, unit }: PlacedUnit): void {
    const { reporter, file } = this.#context;
    const at = { file: file.name, ...place };
    this.#units += 1;
    if (unit.kind === 'refused')
      reporter.problem({ ...at, severity: 'skipped', reason: unit.reason }, unit.type);
    if (unit.kind === 'unknown') reporter.unknownType(unit.type);
    if (unit.kind !== 'change') return;
    if (unit.notice !== undefined) reporter.problem({ ...at, severity: 'noticed', reason: unit.notice });
    this.#waiting.push({ place, change: unit.change });
    this.#bytes += bytes;
  }

  get isFull(): boolean {
    const { limits } = this.#context;
    // Units that are no change count too: a long run of refused lines must move the checkpoint as well.
    return this.#units >= limits.batchResourcesMax || this.#bytes >= limits.batchBytesMax;
  }

  async flush(unitsDone: number, complete: boolean): Promise<void> {
    const { records, run, file, hash, reporter, checkpoints, onBatch } = this.#context;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    this.#units = 0;
    const state: FileState = { hash, unitsDone, complete };
    await records.apply(
      run,
      waiting.map(({ change }) => change),
      (outcomes) => {
        outcomes.forEach((outcome, index) => reportOutcome(this.#context, waiting[index]!, outcome));
        if (complete) reporter.fileDone();
        return checkpoints.operations(run, reporter.snapshot(), file.name, state);
      },
    );
    onBatch();
  }
}
