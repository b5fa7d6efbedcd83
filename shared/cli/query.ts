/** `qfl query …`: ask a model or count patients, through an agent. */
import type { Command } from 'commander';
import { z } from 'zod';
import { QflError } from '../errors.ts';
import { isErrorCode } from '../errors.ts';
import { Comparison, comparisonText } from '../wire/keys.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { note, printJson, run, say } from './output.ts';
import { registerQueryAsk } from './query-ask.ts';
import { registerQueryStats } from './query-stats.ts';

const Delta = z.looseObject({
  choices: z
    .array(z.looseObject({ delta: z.looseObject({ content: z.string().nullish() }).optional() }))
    .optional(),
  qfl: z
    .looseObject({
      site: z.string().nullable(),
      comparison: Comparison.optional(),
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
  withClient(connect(options, 'agent', 'user'), async (client) => {
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
    const about = [
      ...(facts?.comparison === undefined || facts.comparison === null
        ? []
        : [`fingerprint ${comparisonText(facts.comparison)}`]),
      ...(plan === undefined || plan === null
        ? []
        : [`plan: ${plan.solver}, cost ${plan.costMs}, bound ${plan.boundMs}`]),
    ];
    note(`— answered by ${facts?.site ?? 'this site'}${about.length === 0 ? '' : ` (${about.join('; ')})`}`);
  });

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
          await withClient(connect(options, 'agent', 'user'), (client) =>
            client.json('POST', '/v1/chat/completions', Completion, {
              body: chatBody(prompt, options, false),
              headers: chatHeaders(options),
            }),
          ),
        );
      }, options.json ?? false),
    );
  registerQueryStats(query);
  registerQueryAsk(query);
};
