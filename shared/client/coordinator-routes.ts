/** Everything the coordinator's API can be asked, by name. A test holds it against the API document: nothing is missing and nothing is made up. */
import { z } from 'zod';
import { HealthShown } from '../health/wire.ts';
import * as accounts from '../wire/accounts.ts';
import { Hold } from '../audit/retention.ts';
import * as admin from '../wire/admin.ts';
import * as audit from '../wire/audit.ts';
import { ExportRequestBody } from '../wire/audit-export.ts';
import * as compliance from '../wire/compliance.ts';
import * as emergency from '../wire/emergency.ts';
import { FederationInfo } from '../wire/federation-info.ts';
import * as keys from '../wire/keys.ts';
import * as experiments from '../wire/experiment.ts';
import * as models from '../wire/model.ts';
import * as plans from '../wire/plan.ts';
import * as reports from '../wire/reports.ts';
import * as rounds from '../wire/round.ts';
import { TrainingRequest } from '../wire/training.ts';
import * as tasks from '../wire/task.ts';
import { route } from './route.ts';

const Done = z.object({ ok: z.literal(true) });
const Anything = z.looseObject({});

export const COORDINATOR_ROUTES = {
  federation: {
    show: route('GET', '/v1/federation', { answer: FederationInfo }),
    status: route('GET', '/status', { answer: Anything }),
    health: route('GET', '/v1/health', { answer: HealthShown }),
    privacy: route('GET', '/privacy/status', { answer: Anything }),
    privacyBudgets: route('GET', '/privacy/budgets', { answer: Anything }),
  },
  directory: {
    leaves: route('GET', '/v1/directory/leaves', {
      query: z.strictObject({ from: z.int().optional() }),
      answer: z.object(admin.PublicLeaves.shape),
    }),
    keys: route('GET', '/v1/directory/keys', { answer: keys.OwnKeysShown }),
    sites: route('GET', '/v1/directory/sites', { answer: keys.SiteKeysPage }),
    recoveries: route('GET', '/v1/directory/recoveries', {
      answer: z.object({ recoveries: z.array(keys.RecoveryState) }),
    }),
    rotate: route('POST', '/v1/directory/keys/rotate', {
      body: keys.RotateRequest,
      answer: keys.OwnKeysShown,
    }),
    rotateMaster: route('POST', '/v1/directory/keys/master', {
      body: keys.MasterRequest,
      answer: keys.MasterRotated,
    }),
  },
  auth: {
    setup: route('POST', '/v1/auth/setup', { body: accounts.SetupRequest, answer: accounts.AccountShown }),
    login: route('POST', '/v1/auth/login', { body: accounts.SignInRequest, answer: accounts.Tokens }),
    refresh: route('POST', '/v1/auth/refresh', { body: accounts.RefreshRequest, answer: accounts.Tokens }),
    exchange: route('POST', '/v1/auth/providers/exchange', {
      body: z.strictObject({ code: z.string(), verifier: z.string() }),
      answer: accounts.Tokens,
    }),
    providers: route('GET', '/v1/auth/providers', { answer: accounts.ProviderShown }),
    keys: route('GET', '/.well-known/jwks.json', {
      answer: z.object({ keys: z.array(z.record(z.string(), z.unknown())) }),
    }),
    me: route('GET', '/v1/auth/me', { answer: accounts.Whoami }),
    logout: route('POST', '/v1/auth/logout', { answer: Done }),
    sessions: route('GET', '/v1/auth/sessions', { answer: accounts.SessionPage }),
    password: route('POST', '/v1/auth/password', { body: accounts.PasswordChange, answer: Done }),
    beginTotp: route('POST', '/v1/auth/totp', { answer: accounts.TotpBegun }),
    confirmTotp: route('POST', '/v1/auth/totp/confirm', {
      body: accounts.TotpConfirm,
      answer: accounts.TotpConfirmed,
    }),
    removeTotp: route('POST', '/v1/auth/totp/remove', { body: accounts.TotpConfirm, answer: Done }),
  },
  accounts: {
    list: route('GET', '/v1/accounts', { query: accounts.AccountListQuery, answer: accounts.AccountPage }),
    create: route('POST', '/v1/accounts', { body: accounts.AccountRequest, answer: accounts.AccountMade }),
    show: route('GET', '/v1/accounts/:id', { answer: accounts.AccountShown }),
    change: route('PATCH', '/v1/accounts/:id', {
      body: accounts.AccountChange,
      answer: accounts.AccountShown,
    }),
    unlock: route('POST', '/v1/accounts/:id/unlock', { answer: accounts.AccountShown }),
    reset: route('POST', '/v1/accounts/:id/reset', { answer: z.object({ oneTimePassword: z.string() }) }),
  },
  sessions: {
    list: route('GET', '/v1/sessions', { answer: accounts.SessionPage }),
    end: route('DELETE', '/v1/sessions/:session', { answer: accounts.Revoked }),
    endAll: route('DELETE', '/v1/sessions', { answer: accounts.Revoked }),
  },
  keys: {
    list: route('GET', '/v1/keys', { answer: accounts.ServiceKeyPage }),
    create: route('POST', '/v1/keys', { body: accounts.ServiceKeyRequest, answer: accounts.ServiceKeyMade }),
    revoke: route('DELETE', '/v1/keys/:id', { answer: accounts.ServiceKeyShown }),
  },
  roles: { list: route('GET', '/v1/roles', { answer: accounts.RolesShown }) },
  sites: {
    list: route('GET', '/v1/sites', {
      query: admin.SiteListQuery,
      answer: z.object({ sites: z.array(admin.SiteShown) }),
    }),
    approve: route('POST', '/v1/sites/:site/approve', {
      body: z.strictObject({ fingerprint: z.string().optional() }),
      answer: admin.SiteShown,
    }),
    revoke: route('POST', '/v1/sites/:site/revoke', {
      body: z.strictObject({ reason: z.string().optional() }),
      answer: admin.SiteShown,
    }),
  },
  invitations: {
    list: route('GET', '/v1/invitations', {
      answer: z.object({ invitations: z.array(admin.InvitationShown) }),
    }),
    create: route('POST', '/v1/invitations', {
      body: z.strictObject({ site: z.string(), autoApprove: z.boolean().optional() }),
      answer: admin.InvitationMade,
    }),
  },
  policy: {
    show: route('GET', '/v1/policy', { answer: admin.PolicyInForce }),
    replace: route('PUT', '/v1/policy', { body: admin.PolicyInForce, answer: admin.PolicyInForce }),
  },
  budgets: { show: route('GET', '/v1/budgets', { answer: reports.BudgetsShown }) },
  settings: { show: route('GET', '/v1/settings', { answer: reports.SettingsShown }) },
  usage: { report: route('GET', '/v1/usage', { query: reports.UsageQuery, answer: reports.UsageReport }) },
  lockdown: {
    show: route('GET', '/v1/lockdown', { answer: emergency.LockdownShown }),
    start: route('POST', '/v1/lockdown', {
      body: emergency.LockdownRequest,
      answer: emergency.LockdownShown,
    }),
  },
  machine: { backup: route('POST', '/v1/admin/backup', { answer: 'bytes' }) },
  proposals: {
    list: route('GET', '/v1/proposals', {
      query: z.strictObject({
        status: emergency.ProposalShown.shape.status.optional(),
        limit: z.int().optional(),
      }),
      answer: emergency.ProposalPage,
    }),
    create: route('POST', '/v1/proposals', {
      body: emergency.ProposalRequest,
      answer: emergency.ProposalShown,
    }),
    show: route('GET', '/v1/proposals/:id', { answer: emergency.ProposalShown }),
    approve: route('POST', '/v1/proposals/:id/approve', { answer: emergency.ProposalShown }),
    refuse: route('POST', '/v1/proposals/:id/refuse', { answer: emergency.ProposalShown }),
  },
  notices: {
    list: route('GET', '/v1/notices', {
      query: z.strictObject({ limit: z.int().optional() }),
      answer: emergency.NoticePage,
    }),
  },
  plans: {
    list: route('GET', '/v1/plans', {
      query: z.strictObject({ limit: z.int().optional() }),
      answer: plans.PlanList,
    }),
    show: route('GET', '/v1/plans/:queryId', { answer: plans.PlanRecord }),
  },
  quantum: {
    status: route('GET', '/quantum/status', { answer: plans.QuantumStatus }),
    coherence: route('GET', '/quantum/coherence', { answer: plans.CoherenceStatus }),
    optimization: route('GET', '/quantum/optimization/status', { answer: plans.OptimizationStatus }),
  },
  rounds: {
    start: route('POST', '/v1/rounds', { body: TrainingRequest, answer: tasks.TaskShown }),
    list: route('GET', '/v1/rounds', { answer: rounds.RoundPage }),
    show: route('GET', '/v1/rounds/:id', { answer: rounds.RoundShown }),
    cancel: route('POST', '/v1/rounds/:id/cancel', { answer: rounds.RoundShown }),
    watch: route('GET', '/v1/rounds/:id/watch', { answer: 'events' }),
  },
  experiments: {
    list: route('GET', '/v1/experiments', {
      query: experiments.ExperimentListQuery,
      answer: experiments.ExperimentPage,
    }),
    show: route('GET', '/v1/experiments/:id', { answer: experiments.ExperimentShown }),
  },
  models: {
    list: route('GET', '/v1/registry', { query: models.ModelListQuery, answer: models.ModelPage }),
    versions: route('GET', '/v1/registry/:name/versions', {
      query: models.VersionListQuery,
      answer: models.VersionPage,
    }),
    show: route('GET', '/v1/registry/:name/versions/:version', { answer: models.ModelShown }),
    record: route('GET', '/v1/registry/:name/versions/:version/record', { answer: models.SignedModel }),
    tensors: route('GET', '/v1/registry/:name/versions/:version/tensors', { answer: 'bytes' }),
    promote: route('POST', '/v1/registry/:name/versions/:version/promote', {
      body: models.StageRequest,
      answer: models.ModelShown,
    }),
    rollback: route('POST', '/v1/registry/:name/rollback', { answer: models.ModelShown }),
    remove: route('DELETE', '/v1/registry/:name/versions/:version', { answer: models.ModelSummary }),
  },
  tasks: {
    create: route('POST', '/v1/tasks', {
      body: z.union([tasks.TaskRequest, tasks.TasksRequest]),
      answer: tasks.TasksMade,
    }),
    list: route('GET', '/v1/tasks', { query: tasks.TaskListQuery, answer: tasks.TaskPage }),
    show: route('GET', '/v1/tasks/:id', { answer: tasks.TaskShown }),
    cancel: route('POST', '/v1/tasks/:id/cancel', { answer: tasks.TaskShown }),
    result: route('GET', '/v1/tasks/:id/result', { answer: 'bytes' }),
    watch: route('GET', '/v1/tasks/:id/watch', { answer: 'events' }),
    exportPage: route('GET', '/v1/tasks/export', {
      query: z.strictObject({
        page: z.int().optional(),
        tag: z.string().optional(),
        from: z.string().optional(),
      }),
      answer: tasks.TaskStatePage,
    }),
    importPage: route('POST', '/v1/tasks/import', {
      query: z.strictObject({ dryRun: z.boolean().optional() }),
      body: tasks.TaskStatePage,
      answer: tasks.TaskImportAnswer,
    }),
  },
  audit: {
    list: route('GET', '/security/audit', { query: audit.AuditQuery, answer: audit.AuditPageShown }),
    show: route('GET', '/security/audit/:index', { answer: audit.AuditEntryShown }),
    holds: route('GET', '/security/audit/holds', { answer: audit.HoldsShown }),
    hold: route('POST', '/security/audit/holds', { body: audit.HoldRequest, answer: Hold }),
    releaseHold: route('DELETE', '/security/audit/holds/:id', { answer: audit.HoldReleased }),
    erase: route('POST', '/security/audit/erase', { body: audit.EraseRequest, answer: audit.Erased }),
    prune: route('POST', '/security/audit/prune', { body: audit.PruneRequest, answer: audit.PruneShown }),
    export: route('POST', '/v1/audit/export', { body: ExportRequestBody, answer: 'bytes' }),
    person: route('POST', '/v1/audit/person', {
      body: compliance.PersonRequest,
      answer: compliance.PersonAnswer,
    }),
    report: route('POST', '/v1/audit/report', {
      body: compliance.ComplianceReportRequest,
      answer: compliance.ComplianceReportAnswer,
    }),
    incident: route('POST', '/v1/audit/incident', {
      body: reports.IncidentRequest,
      answer: reports.IncidentAnswer,
    }),
  },
} as const;
