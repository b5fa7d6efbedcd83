/** `qfl query …`: ask a model or count patients, through an agent. */
import type { Command } from 'commander';
import { z } from 'zod';
import { QflError } from '../errors.ts';
import { isErrorCode } from '../errors.ts';
import { type StatsResult, StatsResult as StatsResultSchema } from '../wire/stats.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { note, printJson, run, say, table } from './output.ts';

const Delta = z.looseObject({
  choices: z
    .array(z.looseObject({ delta: z.looseObject({ content: z.string().nullish() }).optional() }))
    .optional(),
  qfl: z
    .looseObject({
      site: z.string().nullable(),
      plan: z.looseObject({ costMs: z.number(), boundMs: z.number(), solver: z.string() }).nullable(),
    })
    .optional(),
  error: z.looseObject({ message: z.string(), code: z.string().nullish() }).optional(),
});
const Completion = z.looseObject({
  choices: z.array(z.looseObject({ message: z.looseObject({ content: z.string().nullish() }) })),
  qfl: z.unknown().optional(),
});

interface ChatOptions extends TargetOptions {
  readonly model: string;
  readonly dataClass?: string;
}

const chatHeaders = ({ dataClass }: ChatOptions): Record<string, string> =>
  dataClass === undefined ? {} : { 'x-qfl-data-class': dataClass };
const chatBody = (prompt: string, { model }: ChatOptions, stream: boolean) => ({
  model,
  stream,
  messages: [{ role: 'user', content: prompt }],
});

const streamChat = (prompt: string, options: ChatOptions): Promise<void> =>
  withClient(connect(options, 'agent', true), async (client) => {
    let facts: z.infer<typeof Delta>['qfl'];
    for await (const { data } of client.sse('POST', '/v1/chat/completions', {
      body: chatBody(prompt, options, true),
      headers: chatHeaders(options),
    })) {
      if (data === '[DONE]') break;
      const event = Delta.parse(JSON.parse(data));
      if (event.error !== undefined)
        throw new QflError(isErrorCode(event.error.code) ? event.error.code : 'cut', {
          detail: event.error.message,
        });
      process.stdout.write(event.choices?.[0]?.delta?.content ?? '');
      facts = event.qfl ?? facts;
    }
    say('');
    const plan = facts?.plan;
    note(
      `— answered by ${facts?.site ?? 'this site'}${plan === undefined || plan === null ? '' : ` (plan: ${plan.solver}, cost ${plan.costMs}, bound ${plan.boundMs})`}`,
    );
  });

const statsText = (result: StatsResult, asked: string): string => {
  const rows = result.sites.map((one) =>
    one.status === 'answered'
      ? [
          one.site,
          one.answer.value,
          `${one.interval.low} … ${one.interval.high}`,
          String(result.epsilonPerSite),
          ...['user_day', 'department_day', 'asking_site_day', 'site_lifetime'].map(
            (ledger) =>
              one.answer.ledgers.find((shown) => shown.ledger === ledger)?.remainingEpsilon.toFixed(3) ?? '–',
          ),
        ]
      : [one.site, 'refused', one.code, '0', '–', '–', '–', '–'],
  );
  const interval =
    result.interval === null
      ? ''
      : `  (${result.interval.confidence * 100} % interval from the noise alone: ${result.interval.low} … ${result.interval.high})`;
  return [
    `${asked}: ${result.total ?? 'no answer'} patients${interval}`,
    '',
    table(
      ['site', 'noisy count', 'interval', 'ε charged', 'left: user', 'department', 'asking site', 'lifetime'],
      rows,
    ),
    ...(result.complete
      ? []
      : ['', 'Not every site with records answered; the total covers those that did.']),
  ].join('\n');
};

export const registerQuery = (program: Command): void => {
  const query = program.command('query').description('ask the federation through an agent');
  withTarget(
    query.command('chat <PROMPT>').description('ask a model; the coordinator plans which site answers'),
    'agent',
  )
    .option('--model <ID>', 'see "GET /v1/models"', 'extractive-local')
    .option(
      '--data-class <CLASS>',
      "public, internal, confidential or restricted; the key's class by default",
    )
    .action((prompt: string, options: ChatOptions) =>
      run(async () => {
        if (options.json !== true) return streamChat(prompt, options);
        printJson(
          await withClient(connect(options, 'agent', true), (client) =>
            client.json('POST', '/v1/chat/completions', Completion, {
              body: chatBody(prompt, options, false),
              headers: chatHeaders(options),
            }),
          ),
        );
      }, options.json ?? false),
    );
  withTarget(
    query.command('stats').description('count patients at every site, with differential privacy'),
    'agent',
  )
    .requiredOption('--count <TYPE>', 'FHIR resource type, such as Condition')
    .option(
      '--where <CONDITION...>',
      'code=SYSTEM|CODE, code=CODE, gender=…, birthdate=ge1960-01-01; all must hold',
    )
    .option('--epsilon <DECIMAL>', "charge per site; the site's default (0.1) when left out")
    .option('--confidence <SHARE>', 'of the interval', '0.95')
    .action(
      (options: TargetOptions & { count: string; where?: string[]; epsilon?: string; confidence: string }) =>
        run(async () => {
          const body = {
            count: options.count,
            where: options.where ?? [],
            confidence: Number(options.confidence),
            ...(options.epsilon === undefined ? {} : { epsilon: options.epsilon }),
          };
          const result = await withClient(connect(options, 'agent', true), (client) =>
            client.json('POST', '/v1/stats', StatsResultSchema, { body }),
          );
          if (options.json === true) printJson(result);
          else say(statsText(result, [options.count, ...(options.where ?? [])].join(' with ')));
        }, options.json ?? false),
    );
};
