/** Results that are files: one a task, in a folder of the coordinator's home, readable by its user only; there whole or not at all. */
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { createDeferred } from '../../shared/deferred.ts';
import { abortedBy } from '../../shared/errors.ts';
import { TaskId } from '../../shared/ids.ts';
import { writeWholeFile } from '../../shared/whole-file.ts';

export interface TaskFiles {
  /** @returns bytes written @throws QflError when aborted; nothing is left then */
  write(
    id: TaskId,
    bytes: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    onBytes: (bytesDone: number) => void,
  ): Promise<number>;
  read(id: TaskId): Readable;
  remove(id: TaskId): Promise<void>;
}

const SUFFIX = '.result';

/** Ends with an abort even while the source is silent; the source is told, and not waited for. */
async function* untilAborted<Piece>(
  source: AsyncIterable<Piece>,
  signal: AbortSignal,
): AsyncGenerator<Piece> {
  const aborted = createDeferred<never>();
  aborted.promise.catch(() => undefined);
  const onAbort = (): void => aborted.reject(abortedBy(signal));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  const pieces = source[Symbol.asyncIterator]();
  let isOver = false;
  try {
    for (;;) {
      const next = await Promise.race([pieces.next(), aborted.promise]);
      isOver = next.done === true;
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    if (!isOver) pieces.return?.().catch(() => undefined);
  }
}

async function* counted(
  pieces: AsyncIterable<Uint8Array>,
  onBytes: (bytesDone: number) => void,
): AsyncGenerator<Uint8Array> {
  let bytesDone = 0;
  for await (const piece of pieces) {
    yield piece;
    // Asked for the next one: this one is written.
    bytesDone += piece.byteLength;
    onBytes(bytesDone);
  }
}

/** Opens the folder, and takes out what no task owns any more: parts of writes that were killed. */
export const openTaskFiles = async (folder: string, isOwned: (id: TaskId) => boolean): Promise<TaskFiles> => {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const name of await readdir(folder)) {
    const id = TaskId.safeParse(name.slice(0, -SUFFIX.length));
    const isResult = name.endsWith(SUFFIX) && id.success && isOwned(id.data);
    if (!isResult) await rm(join(folder, name), { force: true });
  }
  const pathOf = (id: TaskId): string => join(folder, id + SUFFIX);
  return {
    write: (id, bytes, signal, onBytes) =>
      writeWholeFile(pathOf(id), counted(untilAborted(bytes, signal), onBytes)),
    read: (id) => createReadStream(pathOf(id)),
    remove: (id) => rm(pathOf(id), { force: true }),
  };
};
