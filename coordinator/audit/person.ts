/** GDPR Art. 15: what the coordinator holds about one account, from its log and its store, with source and rights. */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { fromUtf8, toBase64 } from '../../shared/bytes.ts';
import type { PersonReport } from '../../shared/wire/compliance.ts';
import type { StoredAccount } from '../access/accounts.ts';
import type { OrganisationFacts } from './compliance/facts.ts';

const ENTRIES_MAX = 100_000;

export interface PersonInput {
  readonly audit: AuditLog;
  readonly account: StoredAccount;
  readonly pseudonym: string;
  readonly federation: string;
  readonly ground: string;
  readonly nowMs: number;
  readonly organisation: OrganisationFacts;
  readonly retention: { readonly auditDays: number; readonly dataDays: number };
}

const rightsOf = ({ contact, dataProtectionOfficer }: OrganisationFacts): string[] => [
  'rectification, erasure, restriction and objection (GDPR Art. 16–18, 21): detail beside the log is erasable; entries hold a pseudonym only and stay while a duty to keep records stands',
  'a copy in a structured format (Art. 20): this file',
  'a complaint with a supervisory authority (Art. 77)',
  ...(contact === null ? [] : [`ask: ${contact}`]),
  ...(dataProtectionOfficer === null ? [] : [`data protection officer: ${dataProtectionOfficer}`]),
];

export const personReport = async (input: PersonInput): Promise<PersonReport> => {
  const { audit, account, pseudonym, retention } = input;
  const { minimumIndex, size } = audit.log;
  const entries: PersonReport['entries'] = [];
  let cut = false;
  for await (const entry of audit.entries(minimumIndex, size)) {
    const isAbout = entry.objects.some(({ kind, id }) => kind === 'account' && id === account.id);
    if (entry.actor !== pseudonym && !isAbout) continue;
    cut ||= entries.length >= ENTRIES_MAX;
    if (cut) continue;
    const detail = entry.detail === null ? undefined : await audit.detail(entry.counter);
    entries.push({ entry, detail: detail === undefined ? null : fromUtf8(detail) });
  }
  return {
    format: 'qfl-person/1',
    federation: input.federation,
    createdMs: input.nowMs,
    ground: input.ground,
    account: {
      id: account.id,
      username: account.username,
      pseudonym,
      role: account.role,
      department: account.department,
      dataClass: account.dataClass,
      status: account.status,
      secondFactor: account.totp?.confirmed === true,
      identityProvider: account.external?.provider ?? null,
      createdMs: account.createdMs,
      lastSignInMs: account.lastSignInMs,
    },
    entries,
    cut,
    source:
      account.external === null
        ? 'entered by an administrator or by the person; entries were written as the person acted'
        : `the identity provider ${account.external.provider}; entries were written as the person acted`,
    purposes: [
      'to let this person in, and only this person',
      'to record and examine activity (HIPAA 164.312(b), GDPR Art. 5 (2) and 32)',
    ],
    recipients: [
      'administrators and auditors of the federation',
      'witnessing hospitals: hashes of entries only',
    ],
    retentionDays: { logEntries: retention.auditDays, personalDetail: retention.dataDays },
    rights: rightsOf(input.organisation),
    logSize: size,
    logRoot: toBase64(await audit.log.rootAt(size)),
  };
};
