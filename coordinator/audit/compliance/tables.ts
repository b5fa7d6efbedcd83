/** The tables and records of a compliance export that are made from counts and facts. */
import { csvTable, type CsvCell } from '../../../shared/audit/csv.ts';
import type { ComplianceFacts } from './facts.ts';
import type { Tally } from './tally.ts';

export interface Table {
  readonly text: string;
  readonly rows: number;
}
const tableOf = (head: readonly string[], rows: readonly (readonly CsvCell[])[]): Table => ({
  text: csvTable(head, rows),
  rows: rows.length,
});
const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

/**
 * HIPAA 164.528, accounting of disclosures. What leaves a site are aggregates under differential privacy, so the account lists computations by
 * protocol. Chats read no record and are no disclosure; what a hospital does with its own records is in that hospital's own account.
 */
export const disclosures = ({ served }: Tally): Table =>
  tableOf(
    [
      'date_first',
      'date_last',
      'frequency',
      'disclosing_site',
      'recipient',
      'recipient_address',
      'description',
      'purpose',
      'protocol',
      'sponsor_or_researcher_contact',
      'statement',
    ],
    [...served.values()].map((row) => [
      iso(row.firstMs),
      iso(row.lastMs),
      row.times,
      row.site,
      row.recipient,
      null,
      'aggregate statistics over a cohort, with noise (differential privacy)',
      row.purpose,
      'federated statistics',
      null,
      `no identifiable disclosure; took part in ${row.times} federated computation${row.times === 1 ? '' : 's'}; any one person's data may or may not have been included`,
    ]),
  );

export const accessReview = ({ subjects }: Tally, { accounts, programKeys }: ComplianceFacts): Table =>
  tableOf(
    [
      'kind',
      'pseudonym',
      'id',
      'role',
      'department',
      'data_class',
      'status',
      'second_factor',
      'created',
      'last_sign_in',
      'sign_ins_in_export',
      'changes_in_export',
      'expires',
      'scopes',
    ],
    [
      ...accounts.map((one) => [
        'account',
        one.pseudonym,
        one.id,
        one.role,
        one.department,
        one.dataClass,
        one.status,
        one.secondFactor ? 'yes' : 'no',
        iso(one.createdMs),
        iso(one.lastSignInMs),
        subjects.get(one.id)?.signIns ?? 0,
        subjects.get(one.id)?.changes ?? 0,
        null,
        null,
      ]),
      ...programKeys.map((one) => [
        'program key',
        one.pseudonym,
        one.id,
        one.role,
        one.department,
        one.dataClass,
        one.revoked ? 'revoked' : 'valid',
        null,
        iso(one.createdMs),
        null,
        null,
        subjects.get(one.id)?.changes ?? 0,
        iso(one.expiresMs),
        one.scopes?.join(' ') ?? null,
      ]),
    ],
  );

/** The sites' own ledgers are the only truth; this is what the coordinator and the exported logs know. */
export const budgets = ({ sources }: Tally, { sites }: ComplianceFacts): Table =>
  tableOf(
    [
      'site',
      'status',
      'lifetime_tenths_left_as_the_site_says',
      'statistics_served_in_export',
      'cost_in_export_2^-40_nat',
      'raises_in_export',
    ],
    sites.map(({ site, status, budgetTenths }) => {
      const at = sources.get(site);
      return [
        site,
        status,
        budgetTenths,
        at?.served ?? null,
        at?.costUnits === undefined || at.costUnits === null ? null : String(at.costUnits),
        at?.budgetRaises ?? null,
      ];
    }),
  );

/** GDPR Art. 30 (1); what neither configuration nor log knows is null and has to be filled in by the controller. */
export const art30 = ({ purposes, served }: Tally, facts: ComplianceFacts): unknown => ({
  format: 'qfl-art30/1',
  madeFrom: {
    period: { from: iso(facts.period.fromMs), to: iso(facts.period.toMs) },
    filtered: facts.filtered,
  },
  controller: {
    name: facts.organisation.name,
    contact: facts.organisation.contact,
    representative: null,
    dataProtectionOfficer: facts.organisation.dataProtectionOfficer,
    jointControllers: facts.sites.filter(({ status }) => status === 'approved').map(({ site }) => site),
  },
  purposes: [...purposes].toSorted(),
  legalBasis: null,
  categoriesOfDataSubjects: ['patients whose records a site holds', 'staff who ask questions'],
  categoriesOfPersonalData: [
    'health records, at each site only',
    'prompts and answers, sealed between sites; the coordinator cannot read them',
    'accounts of staff; pseudonyms in the log',
  ],
  recipients: [...new Set([...served.values()].map(({ recipient }) => recipient))].toSorted(),
  thirdCountryTransfers: null,
  erasureAfterDays: { logEntries: facts.retention.auditDays, personalDetail: facts.retention.dataDays },
  securityMeasures: [
    'records stay at the site; what leaves it are aggregates under differential privacy, charged to a budget that the site enforces',
    'channel and sealing with X-Wing (X25519 and ML-KEM-768) and XChaCha20-Poly1305; TLS 1.3 outside',
    'key directory as a transparency log, cosigned by the hospitals',
    'audit log as a Merkle tree, signed with Ed25519 and ML-DSA-44, cosigned by the hospitals',
    'personal detail encrypted per person, erasable',
    'roles, second factor, lockout, two persons for what matters',
  ],
});

const SOC2: readonly (readonly [string, string, string])[] = [
  ['CC6.1', 'logical access is restricted', 'access-review.csv; events.csv (access.refused)'],
  [
    'CC6.2',
    'access is granted and removed by an authorised person',
    'access-review.csv; events.csv (account.*, key.*)',
  ],
  ['CC6.3', 'access follows roles and is reviewed', 'access-review.csv'],
  [
    'CC6.6',
    'protection against threats from outside',
    'incidents.ndjson; events.csv (session.refused, account.locked)',
  ],
  ['CC6.7', 'data in transit is protected', 'keys.ndjson; events.csv (session.opened)'],
  ['CC7.2', 'anomalies are monitored', 'incidents.ndjson'],
  ['CC7.3', 'security events are evaluated', 'incidents.ndjson; events.csv (incident.reported)'],
  [
    'CC7.4',
    'incidents are responded to',
    'incidents.ndjson (lockdown.changed, tokens.revoked, site.revoked)',
  ],
  ['CC8.1', 'changes are authorised and logged', 'events.csv (policy.changed, settings.changed, proposal.*)'],
  ['P6.7', 'an account of disclosures is kept', 'disclosures.csv'],
  ['A1.2 / PI1.5', 'records are complete and unaltered', 'LOG/checkpoint; LOG/proof; policy.txt'],
];
export const soc2Map = (): Table => tableOf(['control', 'what it asks for', 'evidence in this bundle'], SOC2);
