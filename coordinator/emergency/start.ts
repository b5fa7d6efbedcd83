/** Lockdown, proposals and notices of a coordinator, put together: what stops when everything has to stop. */
import type { Clock } from '../../shared/clock.ts';
import type { CoordinatorConfig } from '../../shared/config/config.ts';
import { QflError } from '../../shared/errors.ts';
import type { AccountId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import type { RandomBytes } from '../../shared/random.ts';
import type { ActorPseudonyms } from '../access/pseudonyms.ts';
import type { CoordinatorHome } from '../home.ts';
import type { PolicyBook } from '../policy.ts';
import { type Lockdown, type LockdownState, openLockdown } from './lockdown.ts';
import { type Notices, openNotices } from './notices.ts';
import { openProposals, type ProposalExecutors, type Proposals } from './proposals.ts';

export interface Emergency {
  readonly lockdown: Lockdown;
  readonly proposals: Proposals;
  readonly notices: Notices;
  close(): void;
}

export interface EmergencyDeps {
  readonly home: CoordinatorHome;
  readonly policy: PolicyBook;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly pseudonyms: ActorPseudonyms;
  /** When somebody else last had this account in hand. */
  readonly trustedSinceMs: (account: AccountId) => number;
  readonly settings: () => CoordinatorConfig['notifications'];
  /** Ends what runs, and says so to the sites. */
  readonly stopEverything: (state: LockdownState) => Promise<void>;
  /** Says to the sites that it is over. */
  readonly resume: (state: LockdownState) => Promise<void>;
}

const epsilonExecutor = (policy: PolicyBook): ProposalExecutors['policy.epsilon'] => {
  const wanted = (payload: Readonly<Record<string, unknown>>): number => Number(payload['microEpsilonMax']);
  return {
    summary: (payload) =>
      `Relay up to epsilon ${wanted(payload) / 1e6} per query instead of ${policy.current.policy.microEpsilonMax / 1e6}`,
    check(payload) {
      if (wanted(payload) <= policy.current.policy.microEpsilonMax)
        throw new QflError('conflict', {
          detail: 'that is no raise: the federation relays as much already',
          next: 'Lowering it takes one administrator: PUT /v1/policy.',
        });
    },
    basis: () => policy.current.version,
    isDone: (payload, version) =>
      policy.current.version !== version && policy.current.policy.microEpsilonMax === wanted(payload),
    async execute(payload, _decider, version) {
      await policy.replace({ ...policy.current.policy, microEpsilonMax: wanted(payload) }, version);
    },
  };
};

export const startEmergency = async (deps: EmergencyDeps): Promise<Emergency> => {
  const { home, policy, clock, random, logger, env, pseudonyms, settings } = deps;
  const { store, audit } = home;
  const notices = await openNotices({ store, clock, random, logger, federation: home.name, settings, env });
  const lockdown = await openLockdown({
    store,
    clock,
    audit,
    pseudonyms,
    async changed(state) {
      await (state.on ? deps.stopEverything(state) : deps.resume(state));
      await notices.send(
        state.on
          ? {
              kind: 'lockdown.on',
              subject: 'LOCKDOWN: all processing was stopped',
              text: 'An administrator stopped all processing. Queries and tasks are refused, sessions were ended and tokens revoked. The reason is in the audit log. Two administrators can end it: "qfl lockdown off".',
              facts: { count: state.count },
            }
          : {
              kind: 'lockdown.off',
              subject: 'The lockdown is over',
              text: 'Two administrators ended the lockdown. People have to sign in again.',
              facts: { count: state.count },
            },
      );
    },
  });
  const proposals = await openProposals({
    store,
    clock,
    random,
    audit,
    identity: home.vault.identity,
    logger,
    pseudonyms,
    trustedSinceMs: deps.trustedSinceMs,
    executors: {
      'lockdown.release': {
        summary: () => 'End the lockdown',
        sinceMs: () => lockdown.state.sinceMs,
        check() {
          if (!lockdown.state.on) throw new QflError('conflict', { detail: 'there is no lockdown' });
        },
        // The lockdown that it ends: never another, later one.
        basis: () => (lockdown.state.on ? lockdown.state.count : 0),
        isDone: (_payload, count) => !lockdown.state.on || lockdown.state.count !== count,
        execute: (_payload, decider) => lockdown.release(decider),
      },
      'policy.epsilon': epsilonExecutor(policy),
    },
  });
  return { lockdown, proposals, notices, close: () => notices.close() };
};
