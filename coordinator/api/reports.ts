/** Reports, budgets and settings: what the coordinator can say of itself. */
import { z } from 'zod';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { Clock } from '../../shared/clock.ts';
import type { CoordinatorConfig } from '../../shared/config/config.ts';
import type { NoteSigner } from '../../shared/audit/note.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import {
  BudgetsShown,
  IncidentAnswer,
  IncidentRequest,
  SettingsShown,
  UsageQuery,
  UsageReport,
} from '../../shared/wire/reports.ts';
import type { ApiKeys } from '../../shared/http/api-keys.ts';
import {
  ComplianceReportAnswer,
  ComplianceReportRequest,
  PersonAnswer,
  PersonRequest,
} from '../../shared/wire/compliance.ts';
import type { Accounts } from '../access/accounts.ts';
import type { ActorPseudonyms } from '../access/pseudonyms.ts';
import { complianceReport, reportText } from '../audit/compliance/report.ts';
import { personReport } from '../audit/person.ts';
import { incidentReport, noticeDraft, signReport } from '../audit/incident.ts';
import { usageCsv, usageReport } from '../audit/usage.ts';
import type { Notices } from '../emergency/notices.ts';
import type { PolicyBook } from '../policy.ts';
import { BUDGET_AUTHORITY, budgetHints } from '../sites/budget-hints.ts';
import type { Presence } from '../sites/presence.ts';
import type { Registry } from '../sites/registry.ts';

export interface ReportRouteOptions {
  readonly audit: AuditLog;
  readonly federation: string;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly signer: NoteSigner;
  readonly notices: Pick<Notices, 'send'>;
  readonly pseudonyms: ActorPseudonyms;
  readonly accounts: Accounts;
  readonly apiKeys: Pick<ApiKeys, 'list'>;
  readonly policy: PolicyBook;
  readonly registry: Registry;
  readonly presence: Presence;
  readonly settings: () => CoordinatorConfig;
}

const showBudgets = ({ policy, registry, presence }: ReportRouteOptions): z.infer<typeof BudgetsShown> => ({
  authority: BUDGET_AUTHORITY,
  microEpsilonMax: policy.current.policy.microEpsilonMax,
  sites: budgetHints(registry, presence),
});

const reportRoutes = ({ fastify }: HttpApp, options: ReportRouteOptions): void => {
  const { audit, federation, clock, signer, notices, pseudonyms, settings, accounts } = options;
  fastify.post(
    '/v1/audit/incident',
    {
      config: { access: 'audit.export' },
      schema: {
        summary: 'An incident report from the log alone, signed, with a drafted notice (GDPR Art. 33)',
        body: IncidentRequest,
        response: { 200: IncidentAnswer },
      },
    },
    async (request) => {
      const by = pseudonyms.actorOf(principalOf(request));
      await audit.record({ action: 'incident.reported', outcome: 'begun', ...by });
      const { fromMs, toMs, awareMs } = request.body;
      const nowMs = Math.trunc(clock.nowMs());
      const report = await incidentReport({ audit, federation, fromMs, toMs, awareMs, nowMs });
      await notices.send({
        kind: 'incident.reported',
        subject: 'An incident report was made',
        text: 'An incident report was made from the audit log. Whoever made it has it, with a drafted notice under GDPR Art. 33.',
        facts: { fromMs, toMs, notifyByMs: report.notifyByMs },
      });
      return {
        report,
        note: signReport(report, signer),
        noticeDraft: noticeDraft(report, settings().organisation),
      };
    },
  );
  fastify.post(
    '/v1/audit/person',
    {
      config: { access: 'accounts.read' },
      schema: {
        summary: 'What is held about one account, signed, with source and rights (GDPR Art. 15)',
        body: PersonRequest,
        response: { 200: PersonAnswer },
      },
    },
    async (request) => {
      const by = pseudonyms.actorOf(principalOf(request));
      const { account: name, ground } = request.body;
      const account = accounts.byName(name) ?? accounts.get(name);
      await audit.record({
        action: 'audit.read',
        outcome: 'ok',
        ...by,
        objects: [{ kind: 'account', id: account.id }],
      });
      const { organisation, audit: rules } = settings();
      const report = await personReport({
        audit,
        account,
        pseudonym: pseudonyms.of(account.id),
        federation,
        ground,
        nowMs: Math.trunc(clock.nowMs()),
        organisation,
        retention: rules.retention,
      });
      return { report, note: signReport(report, signer) };
    },
  );
  fastify.post(
    '/v1/audit/report',
    {
      config: { access: 'audit.export' },
      schema: {
        summary: 'The privacy report or the monthly report, from the log and the budgets, signed',
        body: ComplianceReportRequest,
        response: { 200: ComplianceReportAnswer },
      },
    },
    async (request) => {
      const by = pseudonyms.actorOf(principalOf(request));
      const { kind, fromMs, toMs } = request.body;
      await audit.record({
        action: 'audit.read',
        outcome: 'ok',
        ...by,
        objects: [{ kind: 'report', id: kind }],
      });
      const known = accounts.list();
      const report = await complianceReport({
        audit,
        kind,
        federation,
        organisation: settings().organisation.name,
        fromMs,
        toMs,
        nowMs: Math.trunc(clock.nowMs()),
        budgets: showBudgets(options),
        accounts: {
          active: known.filter(({ status }) => status === 'active').length,
          disabled: known.filter(({ status }) => status === 'disabled').length,
          withSecondFactor: known.filter(({ totp }) => totp?.confirmed === true).length,
          programKeys: (await options.apiKeys.list()).filter(({ revoked }) => !revoked).length,
        },
      });
      return { report, note: signReport(report, signer), text: reportText(report) };
    },
  );
  fastify.get(
    '/v1/usage',
    {
      config: { access: 'usage.read' },
      schema: {
        summary: 'Use of the federation, site by site, from the log',
        querystring: UsageQuery,
        response: { 200: z.union([UsageReport, z.string()]) },
      },
    },
    async (request, reply) => {
      const { fromMs, toMs = Math.trunc(clock.nowMs()), format } = request.query;
      const report = await usageReport(audit, fromMs, toMs);
      if (format === 'json') return report;
      return reply
        .type('text/csv; charset=utf-8')
        .serializer((text: string) => text)
        .send(usageCsv(report));
    },
  );
};

const showSettings = (config: CoordinatorConfig): z.infer<typeof SettingsShown> => ({
  environment: config.environment,
  logLevel: config.logLevel,
  planning: { strategy: config.planning.strategy, queueFactor: config.planning.queueFactor },
  tasks: { parallelMax: config.tasks.parallelMax, timeoutMs: config.tasks.timeoutMs },
  accounts: {
    tokenAlgorithm: config.accounts.tokens.algorithm,
    tokenLifeMs: config.accounts.tokens.lifeMs,
    sessionLifeMs: config.accounts.sessionLifeMs,
    sessionIdleMs: config.accounts.sessionIdleMs,
    passwordLengthMin: config.accounts.passwordPolicy.lengthMin,
    failuresMax: config.accounts.lockout.failuresMax,
    lockedMs: config.accounts.lockout.lockedMs,
    secondFactorRoles: [...config.accounts.secondFactorRoles],
    providers: config.accounts.providers.map(({ name }) => name),
  },
  adminAllowedAddresses: [...config.security.adminAllowedAddresses],
  notifications: {
    webhooks: config.notifications.webhooks.length,
    smtp: config.notifications.smtp !== null,
  },
});

const stateRoutes = ({ fastify }: HttpApp, options: ReportRouteOptions): void => {
  const { settings } = options;
  fastify.get(
    '/v1/budgets',
    {
      config: { access: 'budgets.read' },
      schema: { summary: 'Budgets as far as they are known here', response: { 200: BudgetsShown } },
    },
    () => showBudgets(options),
  );
  fastify.get(
    '/v1/settings',
    {
      config: { access: 'settings.read' },
      schema: {
        summary:
          'Settings in force, without secrets; they are changed in the configuration file and read again on SIGHUP',
        response: { 200: SettingsShown },
      },
    },
    () => showSettings(settings()),
  );
};

export const registerReportRoutes = (app: HttpApp, options: ReportRouteOptions): void => {
  reportRoutes(app, options);
  stateRoutes(app, options);
};
