/** `qfl round …`: trainings in sealed rounds. */
import type { Command } from 'commander';
import { QflError, toQflError } from '../errors.ts';
import { errorOfProblem } from '../http/problem.ts';
import { RoundPage, RoundShown } from '../wire/round.ts';
import { TrainingResult } from '../wire/training.ts';
import { TaskShown } from '../wire/task.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { ago, EXIT_FAILED, note, printJson, run, say, table } from './output.ts';
import { watchTask } from './task.ts';
import { taskText } from './task-text.ts';
import { requestOf, type StartOptions, trainingText } from './training-request.ts';

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
    `privacy: unit ${round.privacy.unit}${round.rho === null ? '' : `, rho ${Number(round.rho.toPrecision(4))} charged at each site`}`,
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
    .option('--target <CODE>', 'the condition that is to be told; or CODE>NUMBER, a measured value above it')
    .option(
      '--feature <FEATURE...>',
      'age, sex=female, condition=CODE, is=CODE:VALUE, observation=CODE:LOW..HIGH[:TAKE][:UNIT] with TAKE first, last, mean, min, max, count or known',
    )
    .option('--model <MODEL>', 'logistic (when left out), perceptron, cfc or ltc')
    .option(
      '--strategy <STRATEGY>',
      'fedsgd (when left out), fedadam, fedyogi; fedavg and fedprox protect whole hospitals only, which each has to allow',
    )
    .option(
      '--energy <MICROJOULES>',
      'estimated, of one prediction: the model has as many units as this allows, and no more than it names',
    )
    .option('--name <NAME>', 'of the model in the registry')
    .option('--rounds <COUNT>', 'steps; 10 when left out')
    .option('--epsilon <EPSILON>', 'privacy of the whole training for each patient')
    .option('--delta <DELTA>', 'and its delta')
    .option('--learning-rate <RATE>', 'length of a step')
    .option('--momentum <SHARE>', 'of the last direction that is kept')
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
    .option('--no-standardise', 'no round for means and spreads before the first step')
    .option('--no-evaluate', 'nobody is held out, and no round measures the model at the end')
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
