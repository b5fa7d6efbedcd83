/** An export's bytes with lines of progress before them: an export of millions of entries is silent for a while, and silence looks like death. */
import { createDeferred } from '../../shared/deferred.ts';
import { utf8 } from '../../shared/bytes.ts';
import type { ExportLine } from '../../shared/wire/audit-export.ts';

const TELL_EVERY_MS = 500;
const lineOf = (line: ExportLine): Uint8Array => utf8(`${JSON.stringify(line)}\n`);

export async function* withProgress(
  start: (progress: (done: number, total: number) => void) => AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let [done, total] = [0, 0];
  const archive = start((entriesDone, entriesTotal) => {
    [done, total] = [entriesDone, entriesTotal];
  });
  try {
    const first = archive.next();
    // Heard of below, whatever comes first.
    first.catch(() => undefined);
    for (;;) {
      const tick = createDeferred<'tick'>();
      const timer = setTimeout(() => tick.resolve('tick'), TELL_EVERY_MS);
      const next = await Promise.race([first, tick.promise]).finally(() => clearTimeout(timer));
      if (next !== 'tick') {
        yield lineOf({ kind: 'progress', done, total });
        yield lineOf({ kind: 'archive' });
        if (next.done !== true) yield next.value;
        break;
      }
      yield lineOf({ kind: 'progress', done, total });
    }
    yield* archive;
  } finally {
    await archive.return(undefined);
  }
}
