/** A file → its units, in order, each with the place where it was found. */
import type { ImportLimits } from '../limits.ts';
import { isBundle, type Unit, unitOfResource, unitsOfBundle } from './entries.ts';
import type { SourceFile } from './folder.ts';
import { parseJson } from './json.ts';
import { readLines } from './lines.ts';
import { readFileBytes, readWhole } from './source.ts';

/** A unit and where it was found. `position` grows along the file; the checkpoint keeps the last one done. */
export interface PlacedUnit {
  readonly position: number;
  readonly place: { readonly line?: number; readonly entry?: number };
  readonly bytes: number;
  readonly unit: Unit;
}

const refusedUnit = (reason: string): Unit => ({ kind: 'refused', reason });

function* unitsOfValue(value: unknown, bytes: Buffer, line: number | undefined): Generator<PlacedUnit> {
  const position = line ?? 1;
  const place = line === undefined ? {} : { line };
  if (!isBundle(value)) {
    yield { position, place, bytes: bytes.length, unit: unitOfResource(value, bytes) };
    return;
  }
  const bundle = unitsOfBundle(value);
  if (bundle.kind === 'refused') {
    yield { position, place, bytes: bytes.length, unit: refusedUnit(bundle.reason) };
    return;
  }
  const share = Math.ceil(bytes.length / Math.max(1, bundle.length));
  let entry = 0;
  for (const unit of bundle.units) {
    entry += 1;
    // Entries of a line share its number: they are done together or again.
    yield { position: line ?? entry, place: { ...place, entry }, bytes: share, unit };
  }
}

const unitsOfBytes = function* (
  bytes: Buffer,
  line: number | undefined,
  depthMax: number,
): Generator<PlacedUnit> {
  const parsed = parseJson(bytes, depthMax);
  const place = line === undefined ? {} : { line };
  if (parsed.kind === 'value') yield* unitsOfValue(parsed.value, bytes, line);
  else yield { position: line ?? 1, place, bytes: bytes.length, unit: refusedUnit(parsed.reason) };
};

export interface ReadContext {
  readonly limits: ImportLimits;
  readonly onRawBytes: (total: number) => void;
  /** Positions up to here are done. */
  readonly after: number;
  readonly onLine: () => void;
}

async function* unitsOfLines(file: SourceFile, context: ReadContext): AsyncGenerator<PlacedUnit> {
  const { limits, after } = context;
  const chunks = readFileBytes(file.path, limits, context.onRawBytes);
  for await (const { number, bytes } of readLines(chunks, limits.lineBytesMax)) {
    context.onLine();
    if (number <= after) continue;
    if (bytes === undefined) {
      yield {
        position: number,
        place: { line: number },
        bytes: 0,
        unit: refusedUnit('the line is longer than the limit'),
      };
    } else yield* unitsOfBytes(bytes, number, limits.depthMax);
  }
}

async function* unitsOfDocument(file: SourceFile, context: ReadContext): AsyncGenerator<PlacedUnit> {
  const bytes = await readWhole(file.path, context.limits, context.onRawBytes);
  if (bytes.length === 0) return;
  for (const placed of unitsOfBytes(bytes, undefined, context.limits.depthMax)) {
    if (placed.position > context.after) yield placed;
  }
}

/** @throws FileRefused in mid-stream, after the units before the damage */
export const unitsOfFile = (file: SourceFile, context: ReadContext): AsyncIterable<PlacedUnit> =>
  file.form === 'lines' ? unitsOfLines(file, context) : unitsOfDocument(file, context);
