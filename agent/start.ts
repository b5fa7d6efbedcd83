/** Puts an agent together: opens its home, joins its parts, binds its face, and takes it apart in reverse order. */
import { toHex } from '../shared/bytes.ts';
import { always } from '../shared/crypto/signature.ts';
import { accessRulesOf } from '../shared/access/rules.ts';
import type { Clock } from '../shared/clock.ts';
import type { AgentConfig } from '../shared/config/config.ts';
import { fingerprintOf } from '../shared/directory/record.ts';
import { phraseOf } from '../shared/directory/show.ts';
import type { SiteId } from '../shared/ids.ts';
import { retentionOf } from '../shared/audit/program-log.ts';
import { registerAuditRoutes } from '../shared/http/audit-routes.ts';
import { registerLogRoutes } from '../shared/http/log-routes.ts';
import { createHttpApp, type HttpAddress } from '../shared/http/app.ts';
import { keyAuthenticator } from '../shared/http/api-keys.ts';
import { removeControlFile, withControlKey, writeControlFile } from '../shared/http/control.ts';
import { metricsPlace, serveMetrics } from '../shared/http/metrics-server.ts';
import { createMetrics } from '../shared/http/metrics.ts';
import type { Environment } from '../shared/http/proxy.ts';
import { tlsOf } from '../shared/http/tls.ts';
import { logNotedRotation, masterKeyInForce } from '../shared/keys/master-rotation.ts';
import type { Logger } from '../shared/log.ts';
import type { RandomBytes } from '../shared/random.ts';
import { METHODS, type Telemetry } from '../shared/wire/session.ts';
import type { AccessPolicy } from './access/policy.ts';
import { registerBackupRoute } from '../shared/http/backup-route.ts';
import { agentBackup } from './backup.ts';
import { registerBudgetRaise } from './api/budget-raise.ts';
import { createBudgetRaise } from './budget-raise.ts';
import { createPseudonyms } from './access/pseudonyms.ts';
import { createAffinity } from './answer/affinity.ts';
import { createAsk } from './answer/ask.ts';
import { setUpAsk } from './answer/ask-records/setup.ts';
import { createContribute } from './answer/contribute.ts';
import { createMaskedStatistics } from './answer/masked-statistics.ts';
import { createOutbox } from './answer/outbox.ts';
import { createServeChat } from './answer/serve-chat.ts';
import { createServeStats } from './answer/serve-stats.ts';
import { createServe } from './answer/serve.ts';
import { createStatistics } from './answer/statistics.ts';
import { createMeasuresPlanner } from './answer/stats/plan.ts';
import { registerAdmin } from './api/admin.ts';
import { registerAsk } from './api/ask.ts';
import { registerChat } from './api/chat.ts';
import { registerAgentKeys } from './api/keys.ts';
import { registerDirectory } from './api/directory.ts';
import { registerPrivacyExplain } from './api/privacy-explain.ts';
import { registerSiteModels } from './api/models.ts';
import { registerPrivacy } from './api/privacy.ts';
import { registerStats } from './api/stats.ts';
import { registerStatus } from './api/status.ts';
import { registerUsage } from './api/usage.ts';
import { streamAuditLog } from './federation/audit-log.ts';
import { openComparisons } from './federation/comparisons.ts';
import { type Federation, startFederation } from './federation/federation.ts';
import { createLedgerWitness } from './federation/ledger-witness.ts';
import { identitiesIn } from './federation/identities.ts';
import { policyOf } from './federation/policy.ts';
import { createLearners } from './rounds/learning.ts';
import { createStatisticWorker } from './rounds/statistics.ts';
import { createSiteRounds } from './rounds/rounds.ts';
import { workersOf } from './rounds/work.ts';
import { createExamples } from './training/examples.ts';
import { openExternalTrainers } from './training/external.ts';
import { type Block, blockAt, blocksBetween } from './budget/blocks.ts';
import { QflError } from '../shared/errors.ts';
import type { RoundPlan } from '../shared/rounds/plan.ts';
import { readTrust } from './federation/trust.ts';
import { type AgentHome, type AgentHomeOptions, openAgentHome } from './home.ts';
import { lifetimeReading, openAgentLedger, verifyDaily } from './ledger.ts';
import { createEmbeddedBackend } from './llm/embedded.ts';
import { createExtractiveAnswerer } from './llm/extractive.ts';
import { createModels } from './llm/models.ts';
import { registerInferenceMetrics } from './inference/metrics.ts';
import { createLocalFit } from './inference/local-fit.ts';
import { createInferenceService } from './inference/service.ts';
import { openPulledModels } from './models/pulled.ts';
import { modelOf } from '../shared/learning/models.ts';
import { createOpenAiBackend } from './llm/openai.ts';
import { createAgentMetrics } from './metrics.ts';
import { GENERATOR, VERSION } from '../shared/version.ts';

const BACKEND_SILENCE_MAX_MS = 120_000;
/** Remaining shares are told in tenths, rounded down: a hint for planning that says little. */
const TENTHS = 10n;
const MICROS = 1e6;

export interface AgentDeps extends AgentHomeOptions {
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly env: Environment;
}

export interface RunningAgent {
  readonly address: HttpAddress;
  readonly home: AgentHome;
  readonly federation: Federation;
  readonly fingerprintPhrase: string;
  /** Roles and privacy budgets follow a new configuration at once; the rest needs a restart. */
  reload(config: AgentConfig): Promise<void>;
  close(): Promise<void>;
}

const accessPolicy = ({ security, departmentPriorities }: AgentConfig): AccessPolicy => ({
  departmentPriorities,
  rolePermissions: Object.fromEntries(security.rolePermissions),
  restrictedTravelsTo: [],
  restrictedAcceptedFrom: [],
});

export const startAgent = async (config: AgentConfig, deps: AgentDeps): Promise<RunningAgent> => {
  const { clock, random, logger, env } = deps;
  const home = await openAgentHome({ ...deps, logQueueEntries: config.limits.logQueueEntries });
  const undo: (() => Promise<void> | void)[] = [() => home.close()];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).toReversed()) await step();
  };
  try {
    return await assemble();
  } catch (error) {
    await close();
    throw error;
  }

  async function assemble(): Promise<RunningAgent> {
    const { audit, vault, store, records, documents } = home;
    const self = home.profile.site;
    await audit.record({ action: 'program.start', outcome: 'ok' });
    await logNotedRotation(store, audit);
    const masterKey = masterKeyInForce(deps.sources, { audit, random });
    undo.push(
      async () =>
        void (await audit
          .record({ action: 'program.stop', outcome: 'ok' })
          .catch((error: unknown) => logger.error({ err: error }, 'the stop could not be logged'))),
    );
    const tls = await tlsOf(config.tls, { folder: config.home, hosts: [config.listen.host] }, clock);
    const { ledger, confirmTime, changeBudgets } = await openAgentLedger({
      home: config.home,
      site: self,
      dataKey: home.dataKey,
      store,
      config,
      clock,
      random,
    });
    undo.push(() => ledger.close());
    const comparisons = await openComparisons({ store, audit, clock, self });
    const compared = (site: SiteId) => {
      const keys = federation.mirror.state.get(site);
      if (site === self) return null;
      return keys === undefined ? 'not_compared' : comparisons.of(keys).comparison;
    };
    const pseudonyms = createPseudonyms(vault.secretFor('pseudonyms'));
    const raise = createBudgetRaise({
      store,
      ledger,
      audit,
      identity: vault.identity,
      clock,
      apiKeys: home.apiKeys,
      pseudonyms,
    });
    await changeBudgets(config, (wanted) => raise.allowed(wanted));
    const waiting = raise.pending();
    if (waiting !== null)
      logger.warn(
        { limits: waiting.raises.map(({ limit }) => limit) },
        'a raise of budgets waits for two people: qfl agent budget show',
      );
    undo.push(verifyDaily(ledger, logger));
    let keyEpochDays = config.keyEpochDays;
    let rolePermissions = accessPolicy(config).rolePermissions;
    const policy: AccessPolicy = {
      ...accessPolicy(config),
      get rolePermissions() {
        return rolePermissions;
      },
    };
    const external = config.llm.map(({ name, url, apiKeyEnv, models, ...capacity }) =>
      createOpenAiBackend({
        name,
        baseUrl: url.replace(/\/$/, ''),
        apiKey: apiKeyEnv === null ? undefined : env[apiKeyEnv],
        ...capacity,
        models: models ?? undefined,
        silenceMaxMs: BACKEND_SILENCE_MAX_MS,
      }),
    );
    undo.push(async () => void (await Promise.all(external.map((backend) => backend.close()))));
    const models = createModels(
      [...external, createEmbeddedBackend(createExtractiveAnswerer(documents), () => clock.nowMs())],
      clock,
      { waitingMax: config.limits.chatsInFlight },
    );
    const hasRecords = async (): Promise<boolean> => {
      for await (const _ of records.store.keys({ prefix: 'records/', limit: 1 })) return true;
      return false;
    };
    const budgetTenths = (): number | null => {
      const lifetime = lifetimeReading(ledger, self);
      return lifetime === undefined || lifetime.budgetUnits === 0n
        ? null
        : Number((lifetime.remainingUnits * TENTHS) / lifetime.budgetUnits);
    };
    const microEpsilonLeft = (): number | null => {
      const tenths = budgetTenths();
      return tenths === null
        ? null
        : Math.floor((tenths * config.privacy.siteLifetimeBudgetEpsilon * MICROS) / Number(TENTHS));
    };
    const telemetry = async (): Promise<Telemetry> => ({
      atMs: Math.trunc(clock.nowMs()),
      source: models.source(),
      draining: models.isDraining,
      models: await models.telemetry(),
      records: await hasRecords(),
      budgetTenths: budgetTenths(),
      microEpsilonLeft: microEpsilonLeft(),
    });
    const metrics = createMetrics('agent');
    const meters = createAgentMetrics(metrics.registry, self, ledger, () => federation.link, audit);
    const asking = setUpAsk(
      records,
      vault.secretFor('ask shards'),
      config.llm.flatMap(({ url }, at) => {
        const backend = external[at];
        return backend === undefined ? [] : [{ url, backend }];
      }),
    );
    const contribute = createContribute({
      ledger,
      random,
      meters,
      planners: { measures: createMeasuresPlanner(records), ...asking.planners },
      dataBlocks: { first: config.privacy.dataBlockFirst, nowMs: () => clock.nowMs() },
    });
    const ledgerWitness = createLedgerWitness({
      ledger,
      self,
      identity: vault.identity,
      own: (atMs) =>
        identitiesIn(() => federation.mirror.seen, self, always(vault.identity.publicKeys))(atMs),
      clock,
      logger,
    });
    /** Those that were begun when the round was planned, but the retired. */
    const roundBlocks = (plan: RoundPlan): readonly Block[] | undefined => {
      if (ledger.limits().dataBlock === undefined) return undefined;
      const first = config.privacy.dataBlockFirst;
      if (first === null)
        throw new QflError('invalid_request', {
          detail: 'this site charges data blocks, and its configuration does not say which is the first',
          next: 'The site sets privacy.data_block_first.',
        });
      return blocksBetween(first, blockAt(plan.madeMs)).filter((block) => !ledger.isRetired(block));
    };
    const examples = createExamples(records, clock);
    const trainers = await openExternalTrainers({
      home: home.path,
      trainers: config.training.external,
      logger,
    });
    const rounds = createSiteRounds({
      self,
      restores: home.restored.epoch,
      federation: home.profile.federation.name,
      store,
      vault,
      keys(site) {
        const found = federation.mirror.state.get(site);
        return found === undefined || found.revokedMs !== undefined || found.suspended !== undefined
          ? undefined
          : found.identity;
      },
      audit,
      ledger,
      clock,
      random,
      logger,
      workers: workersOf(
        ...createLearners({
          examples,
          random,
          blocks: roundBlocks,
          external: trainers,
        }),
        createStatisticWorker({ records, random, limits: () => ledger.limits(), blocks: roundBlocks }),
      ),
      policy: () => ({
        minCohort: config.rounds.minCohort,
        onlyCompared: config.rounds.onlyCompared,
        allowsUnmasked: config.rounds.allowsUnmasked,
        allowsSiteUnit: config.rounds.allowsSiteUnit,
      }),
      isCompared: (site) => compared(site) === 'compared',
      coordinatorAt: (atMs) => federation.coordinatorAt(atMs),
      directoryReady: () => federation.directoryReady(),
      blocks: roundBlocks,
      caller: () => federation.link,
    });
    const federation: Federation = await startFederation({
      home,
      url: config.coordinator.url ?? home.profile.url,
      ca: await readTrust(config),
      caFile: config.coordinator.caFile ?? undefined,
      env,
      clock,
      random,
      logger,
      directoryAgeMaxMs: config.audit.directoryAgeMaxMs,
      keyEpochDays: () => keyEpochDays,
      telemetry,
      confirmDay: confirmTime,
      connected: (peer, coordinator) => ledgerWitness.connected(peer, coordinator),
      handlers: () => ({
        [METHODS.serve]: { kind: 'stream', answer: (call) => serve(call) },
        [METHODS.auditLog]: { kind: 'stream', answer: () => streamAuditLog(audit.log) },
        ...rounds.handlers,
      }),
    });
    undo.push(() => federation.close());
    const online = () => (federation.link.state === 'online' ? federation.link : undefined);
    const stopWitness = ledgerWitness.start(online);
    undo.push(async () => {
      stopWitness();
      const caller = online();
      if (caller !== undefined) await ledgerWitness.finish(caller);
    });
    const { link, mirror } = federation;
    undo.push(() => rounds.close());
    await rounds.resume();
    const board = () => federation.board();
    const serve = createServe({
      self,
      policy,
      vault,
      mirror,
      audit,
      clock,
      refreshDirectory: () => federation.refreshDirectory(),
      directoryReady: () => federation.directoryReady(),
      answers: {
        chat: createServeChat({ self, vault, models, clock }),
        stats: createServeStats({ self, vault, policy, contribute, clock }),
      },
    });
    const sealing = { self, vault, mirror, clock, random };
    const directoryReady = () => federation.directoryReady();
    const refreshDirectory = () => federation.refreshDirectory();
    const ask = createAsk({
      directoryReady,
      refreshDirectory,
      self,
      policy,
      models,
      link,
      mirror,
      sealing,
      audit,
      clock,
      random,
      board,
      meters,
      affinity: createAffinity(vault.secretFor('affinity'), clock),
    });
    const outbox = createOutbox(store, clock);
    const statistics = createStatistics({
      directoryReady,
      refreshDirectory,
      self,
      link,
      mirror,
      sealing,
      contribute,
      outbox,
      audit,
      clock,
      random,
      logger,
      hasRecords,
      board,
    });
    const askRecords = asking.journey({
      self,
      statistics,
      ledger,
      audit,
      clock,
      models,
      documents,
      logger,
      board,
    });
    let accessRules = accessRulesOf(config.security);
    const control = withControlKey(keyAuthenticator(home.apiKeys), random);
    const app = await createHttpApp({
      logger,
      clock,
      title: 'Quantum-Enhanced Federated LLM: agent',
      version: VERSION,
      bodyLimitBytes: config.limits.bodyBytes,
      rateLimit: config.limits.rateLimit,
      trustedProxies: config.trustedProxies,
      access: { authenticator: control.authenticator, rules: () => accessRules },
      metrics,
      tls,
    });
    const reload = async (next: AgentConfig): Promise<void> => {
      // The ledger first: it is the one part that can refuse, and then nothing has changed.
      await changeBudgets(next, (wanted) => raise.allowed(wanted));
      ({ rolePermissions } = accessPolicy(next));
      keyEpochDays = next.keyEpochDays;
      accessRules = accessRulesOf(next.security);
    };
    registerStatus(app, {
      home,
      federation,
      models,
      metrics,
      metricsHere: metricsPlace(config.metrics) === 'main',
      clock,
      startedMs: clock.nowMs(),
      fingerprint: () => phraseOf(vault.identity.publicKeys),
      ledgerFault: () => ledger.status().fault ?? null,
    });
    registerDirectory(app, federation, store);
    registerAgentKeys(app, {
      home,
      federation,
      comparisons,
      clock,
      epochDays: () => keyEpochDays,
      rotateMaster: (file, role) => masterKey.rotate(file, role),
    });
    registerAuditRoutes(app, {
      audit,
      retention: retentionOf(home, clock, random, config.audit.retention),
      actorOf: pseudonyms.actorOf,
    });
    registerLogRoutes(
      app,
      [
        {
          name: 'audit',
          log: audit.log,
          entriesAccess: 'audit.read',
          cosigned: () => federation.cosigned.newest(audit.log.origin),
        },
      ],
      { access: 'public', text: () => policyOf(home.profile.federation, mirror.state) },
    );
    registerChat(app, {
      compared,
      ask,
      models,
      policy,
      pseudonyms,
      board,
      timeoutMs: config.limits.chatTimeoutMs,
    });
    registerStats(app, {
      masked: createMaskedStatistics({ self, link, audit, clock, random }),
      compared,
      self,
      statistics,
      contribute,
      ledger,
      policy,
      pseudonyms,
      clock,
      defaultEpsilon: config.privacy.epsilonPerQuery,
    });
    registerAsk(app, {
      compared,
      askRecords,
      ledger,
      list: asking.list,
      policy,
      pseudonyms,
      defaultEpsilon: config.privacy.epsilonPerQuery,
    });
    const pulled = await openPulledModels({
      home: config.home,
      store,
      audit,
      clock,
      trust: () => ({
        federation: home.profile.federation.name,
        identitiesAt: (atMs) => federation.coordinatorAt(atMs),
      }),
      caller: () => link,
    });
    const inference = createInferenceService({
      models: pulled,
      modelOf,
      clock,
      random,
      logger,
      localFit: config.training.localFit ? createLocalFit({ records, examples, clock }) : undefined,
    });
    registerInferenceMetrics(metrics.registry, () => inference.status());
    registerSiteModels(app, { models: pulled, inference, audit, actorOf: pseudonyms.actorOf });
    registerPrivacy(app, { self, ledger, pseudonyms });
    registerPrivacyExplain(app, {
      self,
      ledger,
      pseudonyms,
      defaultEpsilon: config.privacy.epsilonPerQuery,
    });
    registerBackupRoute(app, {
      audit,
      actorOf: pseudonyms.actorOf,
      keys: () => masterKey.keys(),
      source: () => agentBackup(home, clock, GENERATOR),
    });
    registerUsage(app, { self, audit, ledger, apiKeys: home.apiKeys, pseudonyms, clock });
    registerBudgetRaise(app, raise);
    registerAdmin(app, {
      home,
      outbox,
      apiKeys: home.apiKeys,
      pseudonyms,
      roles: new Set(accessRules.table.roles),
      defaultDataClass: config.security.defaultDataClass,
    });
    if (config.metrics.port !== null && metricsPlace(config.metrics) === 'own')
      undo.push(await serveMetrics(metrics, { host: config.listen.host, port: config.metrics.port }));
    undo.push(() => app.close());
    const address = await app.listen(config.listen);
    await writeControlFile(config.home, {
      url: address.url,
      key: control.key,
      pid: process.pid,
      tlsFingerprint: tls?.fingerprint ?? null,
    });
    undo.push(() => removeControlFile(config.home));
    // First of all at the end: what waits or runs is finished, nothing new is taken in.
    undo.push(() => void models.drain());
    await statistics.resume();
    logger.info(
      { url: address.url, site: self, identity: toHex(fingerprintOf(vault.identity.publicKeys)) },
      'the agent is ready',
    );
    return {
      address,
      home,
      federation,
      fingerprintPhrase: phraseOf(vault.identity.publicKeys),
      reload,
      close,
    };
  }
};
