/** `qfl lockdown …` and `qfl proposal …`: stopping everything, and decisions that need two people. */
import type { Command } from 'commander';
import type { LockdownShown, ProposalShown } from '../wire/emergency.ts';
import { type TargetOptions, withTarget } from './connect.ts';
import { withCoordinator } from './coordinator.ts';
import { printJson, run, say, table } from './output.ts';

const lockdownText = ({ on, reason, sinceMs, releaseProposal }: LockdownShown): string => {
  if (!on) return 'There is no lockdown.';
  const since = sinceMs === null ? '' : ` since ${new Date(sinceMs).toISOString()}`;
  const release =
    releaseProposal === null
      ? 'To end it, one administrator runs "qfl lockdown off", and another approves.'
      : `Its end is proposed: another administrator runs "qfl proposal approve ${releaseProposal}".`;
  return `LOCKDOWN${since}: ${reason ?? ''}\n${release}`;
};

const proposalText = (proposal: ProposalShown): string =>
  `Proposal ${proposal.id} (${proposal.kind}): ${proposal.summary}. It is ${proposal.status}.`;

const registerLockdown = (program: Command): void => {
  const lockdown = program
    .command('lockdown')
    .description('stop everything; going on takes two administrators');
  withTarget(
    lockdown.command('on').description('refuse queries and tasks, end sessions, revoke tokens, at once'),
    'coordinator',
  )
    .requiredOption('--reason <TEXT>', 'kept in the audit log')
    .action((options: TargetOptions & { reason: string }) =>
      run(async () => {
        const shown = await withCoordinator(options, ({ lockdown: stop }) =>
          stop.start({ body: { reason: options.reason } }),
        );
        return options.json === true ? printJson(shown) : say(lockdownText(shown));
      }, options.json ?? false),
    );
  withTarget(lockdown.command('status').description('is everything stopped?'), 'coordinator').action(
    (options: TargetOptions) =>
      run(async () => {
        const shown = await withCoordinator(options, ({ lockdown: stop }) => stop.show());
        return options.json === true ? printJson(shown) : say(lockdownText(shown));
      }, options.json ?? false),
  );
  withTarget(
    lockdown
      .command('off')
      .description('propose its end, or approve it when another administrator proposed it'),
    'coordinator',
  ).action((options: TargetOptions) =>
    run(async () => {
      const shown = await withCoordinator(
        options,
        async ({ lockdown: stop, proposals }) => {
          const { releaseProposal: id } = await stop.show();
          return id === null
            ? proposals.create({ body: { kind: 'lockdown.release' } })
            : proposals.approve({ params: { id } });
        },
        'person',
      );
      if (options.json === true) return printJson(shown);
      say(
        shown.status === 'done'
          ? 'The lockdown is over.'
          : `Its end is proposed. Another administrator has to run "qfl lockdown off" too, before ${new Date(shown.expiresMs).toISOString()}.`,
      );
    }, options.json ?? false),
  );
};

export const registerEmergency = (program: Command): void => {
  registerLockdown(program);
  const proposal = program.command('proposal').description('decisions that need two people');
  withTarget(proposal.command('list').description('proposals, newest first'), 'coordinator').action(
    (options: TargetOptions) =>
      run(async () => {
        const { proposals } = await withCoordinator(options, (coordinator) => coordinator.proposals.list());
        if (options.json === true) return printJson(proposals);
        if (proposals.length === 0) return say('No proposals.');
        say(
          table(
            ['id', 'what', 'state', 'proposed by', 'until'],
            proposals.map((one) => [
              one.id,
              one.summary,
              one.status,
              one.proposedBy.slice(0, 8),
              new Date(one.expiresMs).toISOString(),
            ]),
          ),
        );
      }, options.json ?? false),
  );
  const decide = (verb: 'approve' | 'refuse', description: string): void =>
    void withTarget(proposal.command(`${verb} <ID>`).description(description), 'coordinator').action(
      (id: string, options: TargetOptions) =>
        run(async () => {
          const shown = await withCoordinator(
            options,
            ({ proposals }) => proposals[verb]({ params: { id } }),
            'person',
          );
          return options.json === true ? printJson(shown) : say(proposalText(shown));
        }, options.json ?? false),
    );
  decide('approve', 'approve it, as another person than whoever proposed it');
  decide('refuse', 'refuse it');
  withTarget(
    proposal.command('epsilon <VALUE>').description('propose to relay queries of up to this epsilon each'),
    'coordinator',
  ).action((value: string, options: TargetOptions) =>
    run(async () => {
      const payload = { microEpsilonMax: Math.round(Number(value) * 1e6) };
      const shown = await withCoordinator(
        options,
        ({ proposals }) => proposals.create({ body: { kind: 'policy.epsilon', payload } }),
        'person',
      );
      return options.json === true ? printJson(shown) : say(proposalText(shown));
    }, options.json ?? false),
  );
};
