/** The agent's own measurements. Labels are site, department and ledger kind, never a person. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { AuditLog } from '../shared/audit/audit-log.ts';
import { DepartmentId, Pseudonym, type SiteId } from '../shared/ids.ts';
import { MICRO_PER_EPSILON } from '../shared/privacy/epsilon.ts';
import type { Ledger } from './budget/ledger.ts';
import type { Link } from './federation/link.ts';

export interface AgentMeters {
  answered(where: 'local' | 'federation', seconds: number): void;
  charged(epsilon: number): void;
  refusedByBudget(): void;
}

const FIRST_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];
// Nobody's pseudonym: the site and department ledgers read the same for every asker.
const NOBODY = Pseudonym.parse('0'.repeat(32));

export const createAgentMetrics = (
  registry: Registry,
  site: SiteId,
  ledger: Ledger,
  link: () => Link,
  audit: AuditLog,
): AgentMeters => {
  const registers = [registry];
  const firstToken = new Histogram({
    name: 'qfl_first_token_seconds',
    help: 'Time from question to the first piece of its answer',
    labelNames: ['where'] as const,
    buckets: FIRST_BUCKETS_S,
    registers,
  });
  const epsilon = new Counter({
    name: 'differential_privacy_epsilon',
    help: 'Sum of the epsilon of all charged queries',
    registers,
  });
  const refused = new Counter({
    name: 'privacy_budget_refusals_total',
    help: 'Queries refused because a budget did not allow them',
    registers,
  });
  // Sampled when they are scraped; the registry keeps them.
  const sampled = [
    new Gauge({
      name: 'privacy_budget_remaining',
      help: 'Remaining epsilon by ledger',
      labelNames: ['ledger', 'department'] as const,
      registers,
      collect() {
        for (const department of Object.keys(ledger.limits().departmentDay)) {
          for (const one of ledger.readings({
            sender: site,
            asker: NOBODY,
            department: DepartmentId.parse(department),
          })) {
            if (one.ledger === 'department_day')
              this.set({ ledger: one.ledger, department }, one.remainingMicroEpsilon / MICRO_PER_EPSILON);
            else if (one.ledger !== 'user_day')
              this.set(
                { ledger: one.ledger, department: 'all' },
                one.remainingMicroEpsilon / MICRO_PER_EPSILON,
              );
          }
        }
      },
    }),
    new Gauge({
      name: 'qfl_connected',
      help: '1 while connected to the coordinator',
      registers,
      collect() {
        this.set(link().state === 'online' ? 1 : 0);
      },
    }),
    new Gauge({
      name: 'audit_events_total',
      help: 'Entries in the audit log',
      registers,
      collect() {
        this.set(audit.log.size);
      },
    }),
  ];
  void sampled;
  return {
    answered: (where, seconds) => firstToken.observe({ where }, seconds),
    charged: (value) => epsilon.inc(value),
    refusedByBudget: () => refused.inc(),
  };
};
