/**
 * Bring your own trainer: a command of this site's configuration, never of a message, that reads the model and the site's examples from a fresh folder and
 * writes what it made of the model. Weights or LoRA adapters, in any language: all that is asked of it are named tensors of the same shapes.
 */
import { constants } from 'node:fs';
import { lstat, mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { QflError } from '../../shared/errors.ts';
import type { Example, InputShape, TensorPart } from '../../shared/learning/model.ts';
import type { Logger } from '../../shared/log.ts';
import { createSerial } from '../../shared/serial.ts';
import type { Dtype } from '../../shared/tensor/dtype.ts';
import { HEADER_BYTES_MAX } from '../../shared/tensor/header.ts';
import { readFlat, sizeOf, writeFlat } from '../../shared/tensor/safetensors.ts';
import { isMissing } from '../../shared/whole-file.ts';
import { examplesFile } from './examples-file.ts';
import { type Ended, runLimited } from './limited-process.ts';

export interface ExternalTrainer {
  readonly command: readonly string[];
  readonly timeLimitMs: number;
  readonly memoryLimitBytes: number | null;
  /** Of `global.safetensors`. */
  readonly dtype: Extract<Dtype, 'F32' | 'F64'>;
}

export interface ExternalTask {
  readonly parts: readonly TensorPart[];
  /** The flat vector that everybody begins from. */
  readonly weights: Float64Array;
  readonly examples: readonly Example[];
  readonly shape: InputShape;
  /** Written to `settings.json`, for whatever the trainer wants to know: learning rate, seed, round. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  readonly signal: AbortSignal;
}

export interface ExternalTrainers {
  /** Configured ones. */
  readonly names: readonly string[];
  /**
   * What the trainer changed: its weights less those it was given, as it was given them.
   * @throws QflError `not_found` for a name that is not configured, `timeout`, `cancelled`, `too_large`, `invalid_request` for an update that does not
   * fit, `trainer_failed`
   */
  readonly train: (name: string, task: ExternalTask) => Promise<Float64Array<ArrayBuffer>>;
}

export interface ExternalTrainerOptions {
  /** The agent's home: the folders of trainings are in it, on the site's own disk. */
  readonly home: string;
  readonly trainers: ReadonlyMap<string, ExternalTrainer>;
  readonly logger: Pick<Logger, 'warn'>;
}

const FOLDER = 'training';
const FILES = { global: 'global.safetensors', examples: 'examples.safetensors', settings: 'settings.json' };
const UPDATE = 'update.safetensors';

/** The largest file of these tensors: eight bytes a number, and the longest header. */
const updateBytesMax = (parts: readonly TensorPart[]): number => sizeOf(parts) * 8 + HEADER_BYTES_MAX + 8;

const absent = (name: string, cause?: unknown): QflError =>
  new QflError('invalid_request', {
    detail: `the trainer ${name} ended without an ${UPDATE}`,
    next: 'See deploy/training.md for what it has to write, and where.',
    cause,
  });

/** A file of the trainer's, no link and no pipe: what it points to is nobody's business. */
const readUpdate = async (name: string, folder: string, bytesMax: number): Promise<Uint8Array> => {
  const path = join(folder, UPDATE);
  const found = await lstat(path).catch((error: unknown) => {
    throw isMissing(error) ? absent(name, error) : error;
  });
  if (!found.isFile()) throw absent(name);
  if (found.size > bytesMax)
    throw new QflError('too_large', {
      detail: `the trainer ${name} wrote ${found.size} bytes, and ${bytesMax} are allowed for this model`,
    });
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return await handle.readFile();
  } finally {
    await handle.close();
  }
};

const checkEnd = (name: string, { timeLimitMs }: ExternalTrainer, { code, signal, isLate }: Ended): void => {
  if (isLate)
    throw new QflError('timeout', {
      detail: `the trainer ${name} was ended after ${timeLimitMs} ms`,
      next: 'Raise training.external of the configuration (time_limit_seconds), or let it do less.',
    });
  if (code === 0) return;
  throw new QflError('trainer_failed', {
    detail: `the trainer ${name} ended with ${code === null ? `signal ${signal}` : `code ${code}`}`,
    next: "The end of what it printed is in this agent's log, without digits.",
  });
};

const difference = (update: Float64Array<ArrayBuffer>, given: Float64Array): Float64Array<ArrayBuffer> => {
  for (let at = 0; at < update.length; at += 1) update[at] = update[at]! - given[at]!;
  return update;
};

/** Opens the folder of trainings, and takes out what a crash left there: examples are patients' data. */
export const openExternalTrainers = async ({
  home,
  trainers,
  logger,
}: ExternalTrainerOptions): Promise<ExternalTrainers> => {
  const base = join(home, FOLDER);
  await rm(base, { recursive: true, force: true });
  await mkdir(base, { recursive: true, mode: 0o700 });
  // Each may take all the memory it is allowed.
  const inTurn = createSerial();

  const trainIn = async (
    folder: string,
    name: string,
    trainer: ExternalTrainer,
    { parts, weights, examples, shape, settings = {}, signal }: ExternalTask,
  ): Promise<Float64Array<ArrayBuffer>> => {
    const given = writeFlat(parts, weights, trainer.dtype);
    const put = (file: string, content: string | Uint8Array): Promise<void> =>
      writeFile(join(folder, file), content, { mode: 0o600 });
    await put(FILES.global, given);
    await put(FILES.examples, examplesFile(examples, shape));
    await put(FILES.settings, JSON.stringify(settings));
    const bytesMax = updateBytesMax(parts);
    const ended = await runLimited({
      command: trainer.command,
      folder,
      limits: { timeMs: trainer.timeLimitMs, memoryBytes: trainer.memoryLimitBytes, fileBytes: bytesMax },
      signal,
    });
    if (ended.isLate || ended.code !== 0)
      logger.warn(
        { trainer: name, exit: ended.code ?? ended.signal, isLate: ended.isLate, printed: ended.tail },
        'a trainer failed',
      );
    checkEnd(name, trainer, ended);
    const update = readFlat(parts, await readUpdate(name, folder, bytesMax));
    return difference(update, readFlat(parts, given));
  };

  return {
    names: [...trainers.keys()],
    train: (name, task) =>
      inTurn(async () => {
        const trainer = trainers.get(name);
        if (trainer === undefined)
          throw new QflError('not_found', {
            detail: `this site has no trainer called ${name}`,
            next: 'Its operator names trainers in the configuration: training.external.',
            facts: { trainers: [...trainers.keys()] },
          });
        const folder = await mkdtemp(join(base, 'run-'));
        try {
          return await trainIn(folder, name, trainer, task);
        } finally {
          await rm(folder, { recursive: true, force: true });
        }
      }),
  };
};
