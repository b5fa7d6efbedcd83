import type { ComplianceFacts } from '../../../coordinator/audit/compliance/facts.ts';

/** One account with a role that would run in a spreadsheet, one site that is away. */
export const COMPLIANCE_FACTS: ComplianceFacts = {
  federation: 'f',
  organisation: { name: 'Trägerverein, e.V.', contact: null, dataProtectionOfficer: null },
  createdMs: 1_790_000_000_000,
  requestedBy: 'auditor',
  ground: '=HYPERLINK("x")',
  generator: 'test',
  period: { fromMs: null, toMs: null },
  filtered: false,
  accounts: [
    {
      id: 'a1',
      pseudonym: '0a'.repeat(16),
      role: '=cmd',
      department: 'icu',
      dataClass: 'internal',
      status: 'active',
      secondFactor: true,
      createdMs: 1_780_000_000_000,
      lastSignInMs: null,
    },
  ],
  programKeys: [],
  sites: [{ site: 'lakeside', status: 'approved', budgetTenths: null }],
  sitesMissing: [],
  directory: [],
  retention: { auditDays: 3_650, dataDays: 2_555 },
  microEpsilonMax: null,
};
