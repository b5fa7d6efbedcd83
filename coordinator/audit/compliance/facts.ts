/** What the coordinator knows beside its log when an export is made. Unknown is null; nothing is guessed. */
import type { NewKeyFacts } from './keys.ts';

export interface AccountFacts {
  readonly id: string;
  readonly pseudonym: string;
  readonly role: string;
  readonly department: string;
  readonly dataClass: string;
  readonly status: string;
  readonly secondFactor: boolean;
  readonly createdMs: number;
  readonly lastSignInMs: number | null;
}
export interface ProgramKeyFacts {
  readonly id: string;
  readonly pseudonym: string;
  readonly role: string;
  readonly department: string;
  readonly dataClass: string;
  readonly revoked: boolean;
  readonly createdMs: number;
  readonly expiresMs: number | null;
  readonly scopes: readonly string[] | null;
}
export interface SiteFacts {
  readonly site: string;
  readonly status: string;
  /** Tenths of the lifetime budget that are left, as the site says; null while it is away. */
  readonly budgetTenths: number | null;
}
export interface OrganisationFacts {
  readonly name: string | null;
  readonly contact: string | null;
  readonly dataProtectionOfficer: string | null;
}

export interface ComplianceFacts {
  readonly federation: string;
  readonly organisation: OrganisationFacts;
  readonly createdMs: number;
  readonly requestedBy: string;
  readonly ground: string;
  readonly generator: string;
  readonly period: { readonly fromMs: number | null; readonly toMs: number | null };
  readonly filtered: boolean;
  readonly accounts: readonly AccountFacts[];
  readonly programKeys: readonly ProgramKeyFacts[];
  readonly sites: readonly SiteFacts[];
  readonly sitesMissing: readonly string[];
  readonly directory: readonly NewKeyFacts[];
  readonly retention: { readonly auditDays: number; readonly dataDays: number };
  readonly microEpsilonMax: number | null;
}
