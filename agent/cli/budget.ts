/** `qfl agent budget show|approve`: a raise of the budgets waits for two people. */
import type { Command } from 'commander';
import { connect, type TargetOptions, withClient, withTarget } from '../../shared/cli/connect.ts';
import { printJson, run, say, table } from '../../shared/cli/output.ts';
import { QflError } from '../../shared/errors.ts';
import { RaisePending, RaiseShown } from '../../shared/wire/budget-raise.ts';

const MICRO = 1_000_000;
const epsilonOf = (micro: number | null): string => {
  if (micro === null) return 'none';
  return micro === Number.MAX_SAFE_INTEGER ? 'without bound' : `ε ${micro / MICRO}`;
};

const raiseText = ({ digest, sinceMs, raises, approvedBy, signature }: RaiseShown): string =>
  [
    table(
      ['budget', 'now', 'wanted', 'δ'],
      raises.map(({ limit, from, to, deltaFrom, deltaTo }) => [
        limit,
        epsilonOf(from),
        epsilonOf(to),
        deltaFrom === deltaTo ? deltaTo : `${deltaFrom ?? 'none'} → ${deltaTo}`,
      ]),
    ),
    '',
    signature === null
      ? `Waits since ${new Date(sinceMs).toISOString()}; approved by ${approvedBy.length} of 2. An administrator with an older key of their own runs:\n  qfl agent budget approve ${digest} --key KEY`
      : 'Approved by two people, signed, and in force.',
  ].join('\n');

export const registerBudget = (agent: Command): void => {
  const budget = agent.command('budget').description('raises of the privacy budgets, which take two people');
  withTarget(budget.command('show').description('the raise that waits, if there is one'), 'agent').action(
    (options: TargetOptions) =>
      run(async () => {
        const { pending } = await withClient(connect(options, 'agent'), (client) =>
          client.json('GET', '/v1/admin/budgets/raise', RaisePending),
        );
        if (options.json === true) return printJson(pending);
        say(
          pending === null
            ? 'No raise waits: the budgets of the configuration are in force.'
            : raiseText(pending),
        );
      }, options.json ?? false),
  );
  withTarget(
    budget.command('approve <DIGEST>').description('approve it as one of two people, with your own key'),
    'agent',
  ).action((digest: string, options: TargetOptions) =>
    run(async () => {
      if (!/^[0-9a-f]{64}$/.test(digest))
        throw new QflError('invalid_request', {
          detail: 'a digest has 64 hexadecimal characters',
          next: 'It stands in "qfl agent budget show".',
        });
      const shown = await withClient(connect(options, 'agent', 'user'), (client) =>
        client.json('POST', '/v1/admin/budgets/raise/approve', RaiseShown, { body: { digest } }),
      );
      if (options.json === true) return printJson(shown);
      say(raiseText(shown));
    }, options.json ?? false),
  );
};
