/** `qfl round …`: trainings in sealed rounds. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { QflError, toQflError } from '../errors.ts';
import { errorOfProblem } from '../http/problem.ts';
import { RoundPage, RoundShown, TrainingRequest, TrainingResult } from '../wire/round.ts';
import { TaskShown } from '../wire/task.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { ago, EXIT_FAILED, note, printJson, run, say, table } from './output.ts';
import { watchTask } from './task.ts';
import { taskText } from './task-text.ts';

interface StartOptions extends TargetOptions {
  readonly target?: string;
  readonly feature?: string[];
  readonly rounds?: string;
  readonly epsilon?: string;
  readonly delta?: string;
  readonly learningRate?: string;
  readonly clip?: string;
  readonly site?: string[];
  readonly minCohort?: string;
  readonly department?: string;
  readonly unmasked?: boolean;
  readonly rule?: string;
  readonly patience?: string;
  readonly file?: string;
  readonly watch?: boolean;
}

/** `age`, `sex=female`, `condition=CODE`. @throws QflError `invalid_request` */
export const featureOf = (text: string): unknown => {
  const [kind = '', value] = text.split('=');
  if (kind === 'age' && value === undefined) return { kind };
  if (kind === 'sex' && value !== undefined) return { kind, is: value };
  if (kind === 'condition' && value !== undefined) return { kind, code: value };
  throw new QflError('invalid_request', {
    detail: `"${text}" is no feature`,
    next: 'Write age, sex=female, sex=male or condition=CODE, once for each.',
  });
};

const numbers = (given: Readonly<Record<string, string | undefined>>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(given).flatMap(([name, text]) => (text === undefined ? [] : [[name, Number(text)]])),
  );

const EXAMPLE =
  'Such as: qfl round start --target 44054006 --feature age condition=38341003 --epsilon 1 --rounds 5 --watch';

export const requestOf = async (
  options: Omit<StartOptions, keyof TargetOptions>,
): Promise<TrainingRequest> => {
  const { rounds, epsilon, delta, learningRate, clip, minCohort, site, department } = options;
  const fromFile: unknown =
    options.file === undefined
      ? {}
      : JSON.parse(
          await readFile(options.file, 'utf8').catch((cause: unknown) => {
            throw new QflError('invalid_request', { detail: `${options.file} cannot be read`, cause });
          }),
        );
  if (options.file === undefined && (options.target === undefined || epsilon === undefined))
    throw new QflError('invalid_request', {
      detail: 'a training needs a target, features and an epsilon',
      next: EXAMPLE,
    });
  const base = z.record(z.string(), z.unknown()).parse(fromFile);
  const settings =
    options.target === undefined
      ? {}
      : { settings: { target: options.target, features: (options.feature ?? []).map(featureOf) } };
  const parsed = TrainingRequest.safeParse({
    ...base,
    ...settings,
    ...numbers({ rounds, epsilon, delta, learningRate, clip, minCohort }),
    ...(options.patience === undefined ? {} : { silenceMs: Number(options.patience) * 1_000 }),
    ...(site === undefined ? {} : { sites: site }),
    ...(department === undefined ? {} : { department }),
    ...(options.unmasked === true ? { masked: false } : {}),
    ...(options.rule === undefined ? {} : { rule: options.rule }),
  });
  if (parsed.success) return parsed.data;
  throw new QflError('invalid_request', {
    detail: z.prettifyError(parsed.error),
    next: EXAMPLE,
  });
};

const short = (value: number): string => Number(value.toPrecision(4)).toString();

/** A training's figures; each is a noisy sum over all patients of the sites that stayed. */
export const trainingText = ({ steps, weights, epsilon, delta, unit }: TrainingResult): string =>
  [
    table(
      ['step', 'patients', 'loss', 'accuracy', 'sites', 'round'],
      steps.map(({ patients, loss, accuracy, survivors, round }, at) => [
        String(at + 1),
        patients.toFixed(0),
        short(loss),
        `${(accuracy * 100).toFixed(1)} %`,
        String(survivors),
        round,
      ]),
    ),
    '',
    `weights  ${weights.map(short).join('  ')}`,
    `privacy  epsilon ${epsilon}, delta ${delta} for each ${unit}, of the whole training`,
  ].join('\n');

const start = (options: StartOptions): Promise<void> =>
  run(async () => {
    const body = await requestOf(options);
    const json = options.json ?? false;
    const task = await withClient(connect(options, 'coordinator'), (client) =>
      client.json('POST', '/v1/rounds', TaskShown, { body }),
    );
    if (options.watch !== true) {
      if (json) return printJson(task);
      say(`Training ${task.id} is ${task.state}.`);
      return note(`Follow it with:  qfl round watch ${task.id}\nIts rounds:      qfl round list`);
    }
    await watchTraining(options, task.id);
  }, options.json ?? false);

const watchTraining = async (options: TargetOptions, id: TaskShown['id']): Promise<void> => {
  const json = options.json ?? false;
  const ended = await watchTask(options, id);
  if (ended.state !== 'done') {
    process.exitCode = EXIT_FAILED;
    return json ? undefined : say(taskText(ended));
  }
  const result = await withClient(connect(options, 'coordinator'), (client) =>
    client.json('GET', `/v1/tasks/${id}/result`, TrainingResult),
  );
  return json ? printJson(result) : say(trainingText(result));
};

/** A round in words. */
export const roundText = (round: RoundShown, nowMs: number): string =>
  [
    `Round ${round.id} (${round.work}, ${round.masked ? 'masked' : 'NOT MASKED'}, ${round.rule}): ${round.phase}${round.why === null ? '' : `, ${round.why}`}`,
    `begun ${ago(nowMs - round.startedMs)} ago${round.endedMs === null ? '' : `, took ${((round.endedMs - round.startedMs) / 1_000).toFixed(1)} s`}`,
    round.tolerance.text,
    `privacy: unit ${round.privacy.unit}${round.rho === null ? '' : `, rho ${short(round.rho)} charged at each site`}`,
    `${round.joined} of ${round.sites.length} sites agreed, ${round.members} shared their secrets, ${round.survivors.length} are in the sum`,
    `received ${round.receivedBytes} of ${round.expectedBytes} bytes of masked vectors (${round.words} words each)`,
    ...round.losses.map(
      ({ site, phase, code, detail }) => `lost: ${site} while ${phase}: ${code}, ${detail}`,
    ),
    ...(round.sumHash === null ? [] : [`sum: ${round.sumHash}`]),
  ].join('\n');

const list = (options: TargetOptions): Promise<void> =>
  run(async () => {
    const { rounds } = await withClient(connect(options, 'coordinator'), (client) =>
      client.json('GET', '/v1/rounds', RoundPage),
    );
    if (options.json === true) return printJson(rounds);
    if (rounds.length === 0) return say('No rounds yet. Begin a training with "qfl round start --help".');
    return say(
      table(
        ['round', 'work', 'phase', 'sites', 'in the sum', 'lost', 'begun'],
        rounds.map((round) => [
          round.id,
          round.work,
          round.phase,
          String(round.sites.length),
          String(round.survivors.length),
          round.losses.map(({ site }) => site).join(', ') || '–',
          `${ago(Date.now() - round.startedMs)} ago`,
        ]),
      ),
    );
  }, options.json ?? false);

const show = (id: string, options: TargetOptions): Promise<void> =>
  run(async () => {
    const round = await withClient(connect(options, 'coordinator'), (client) =>
      client.json('GET', `/v1/rounds/${encodeURIComponent(id)}`, RoundShown),
    );
    return options.json === true ? printJson(round) : say(roundText(round, Date.now()));
  }, options.json ?? false);

/** A training by its task's id, or one round by its own. */
const watch = (id: string, options: TargetOptions): Promise<void> =>
  run(async () => {
    const path = `/v1/rounds/${encodeURIComponent(id)}`;
    const isRound = await withClient(connect(options, 'coordinator'), (client) =>
      client.json('GET', path, RoundShown).then(
        () => true,
        (error: unknown) => {
          if (toQflError(error).code === 'not_found') return false;
          throw error;
        },
      ),
    );
    if (!isRound) return watchTraining(options, TaskShown.shape.id.parse(id));
    return withClient(connect(options, 'coordinator'), async (client) => {
      for await (const { event, data } of client.sse('GET', `${path}/watch`)) {
        const body: unknown = JSON.parse(data);
        if (event === 'error') throw errorOfProblem(body) ?? new QflError('cut');
        const round = RoundShown.parse(body);
        if (options.json === true) process.stdout.write(`${JSON.stringify(round)}\n`);
        else
          note(
            `${round.phase.padEnd(10)} ${round.joined} agreed, ${round.members} members, ${round.receivedBytes}/${round.expectedBytes} bytes, ${round.losses.length} lost`,
          );
      }
      return undefined;
    });
  }, options.json ?? false);

const cancel = (id: string, options: TargetOptions): Promise<void> =>
  run(async () => {
    const round = await withClient(connect(options, 'coordinator'), (client) =>
      client.json('POST', `/v1/rounds/${encodeURIComponent(id)}/cancel`, RoundShown),
    );
    return options.json === true
      ? printJson(round)
      : say(`Round ${round.id} is ended. What the sites charged stays charged.`);
  }, options.json ?? false);

export const registerRound = (program: Command): void => {
  const round = program.command('round').description('trainings in sealed rounds: sums that nobody can open');
  withTarget(
    round.command('start').description('begin a training at all sites that are there'),
    'coordinator',
  )
    .option('--target <CODE>', 'the condition that is to be told')
    .option('--feature <FEATURE...>', 'age, sex=female, sex=male, condition=CODE; once for each')
    .option('--rounds <COUNT>', 'steps; 10 when left out')
    .option('--epsilon <EPSILON>', 'privacy of the whole training for each patient')
    .option('--delta <DELTA>', 'and its delta')
    .option('--learning-rate <RATE>', 'length of a step')
    .option('--clip <LENGTH>', "length that a patient's gradient is clipped to")
    .option('--site <SITE...>', 'only these sites, three at least')
    .option('--min-cohort <COUNT>', 'no sum of fewer sites is opened')
    .option(
      '--patience <SECONDS>',
      'a step goes on without a hospital that is silent for so long; 60 when left out',
    )
    .option('--department <NAME>', 'whose budget at each site it counts on')
    .option('--unmasked', 'the coordinator sees the vector of each hospital; hospitals have to allow it')
    .option('--rule <RULE>', 'of unmasked rounds: sum (when left out), median, trimmed_mean or krum')
    .option('--file <FILE>', 'the request as JSON; options on top of it')
    .option('--watch', 'follow it to its end and show what came of it')
    .action((options: StartOptions) => start(options));
  withTarget(
    round.command('watch <ID>').description('follow a training or a round to its end'),
    'coordinator',
  ).action(watch);
  withTarget(round.command('list').description('sealed rounds, newest first'), 'coordinator').action(list);
  withTarget(
    round.command('show <ROUND>').description('a round: who is in it, what it stands, who was lost'),
    'coordinator',
  ).action(show);
  withTarget(round.command('cancel <ROUND>').description('end a round without a sum'), 'coordinator').action(
    cancel,
  );
};
