/** Puts a coordinator together: opens its home, binds its faces, names its adapters, and takes it apart in reverse order. */
import { toHex } from '../shared/bytes.ts';
import type { Clock } from '../shared/clock.ts';
import { COORDINATOR_NAME, fingerprintPhrase } from '../shared/directory/record.ts';
import { showOwnKeys, showSites } from '../shared/directory/show.ts';
import { logNotedRotation, masterKeyInForce } from '../shared/keys/master-rotation.ts';
import { registerKeyRoutes } from '../shared/http/key-routes.ts';
import { registerDirectoryRoutes } from './api/directory.ts';
import { QflError } from '../shared/errors.ts';
import { retentionOf } from '../shared/audit/program-log.ts';
import { registerAuditRoutes } from '../shared/http/audit-routes.ts';
import { registerBackupRoute } from '../shared/http/backup-route.ts';
import { registerLogRoutes } from '../shared/http/log-routes.ts';
import { createHttpApp, type HttpAddress } from '../shared/http/app.ts';
import { removeControlFile, withControlKey, writeControlFile } from '../shared/http/control.ts';
import { metricsPlace, serveMetrics } from '../shared/http/metrics-server.ts';
import { createMetrics } from '../shared/http/metrics.ts';
import { tlsOf } from '../shared/http/tls.ts';
import type { CoordinatorConfig } from '../shared/config/config.ts';
import { identitiesAt } from '../shared/directory/chain.ts';
import type { Logger } from '../shared/log.ts';
import type { RandomBytes } from '../shared/random.ts';
import type { Envelope } from '../shared/wire/envelope.ts';
import { registerAccountRoutes } from './api/accounts.ts';
import { EXAMPLES } from './api/examples.ts';
import { registerAuthRoutes } from './api/auth.ts';
import { registerEmergencyRoutes } from './api/emergency.ts';
import { registerReportRoutes } from './api/reports.ts';
import { DEFAULT_COSIGNING_RULES, startCosigning } from './audit/cosigning.ts';
import { createExportLogs } from './audit/export.ts';
import { registerPlanRoutes } from './api/plans.ts';
import { registerExperimentRoutes } from './api/experiments.ts';
import { registerModelRoutes } from './api/models.ts';
import { registerQuantumRoutes } from './api/quantum.ts';
import { registerRoutes } from './api/routes.ts';
import { registerRoundRoutes } from './api/rounds.ts';
import { registerTaskRoutes } from './api/tasks.ts';
import { createActorPseudonyms } from './access/pseudonyms.ts';
import { type Access, startAccess } from './access/start.ts';
import { coordinatorBackup } from './backup.ts';
import { type Emergency, startEmergency } from './emergency/start.ts';
import { type CoordinatorHome, type HomeOptions, openCoordinatorHome } from './home.ts';
import { startCoordinatorKeys } from './directory/own-keys.ts';
import { createRecoveries } from './directory/recoveries.ts';
import { federationInfo, policyOf } from './identity.ts';
import { createCoordinatorMetrics, registerLoopDelay } from './metrics.ts';
import { createLivePlanner } from './planning/live.ts';
import { registerPlanningMetrics } from './planning/metrics.ts';
import { openPlanShelf } from './planning/plan-shelf.ts';
import { createPlanningThreads } from './planning/threads.ts';
import { needRestart } from './reload.ts';
import { openPolicyBook } from './policy.ts';
import { collectStatistics } from './relay/collect.ts';
import { relayChat } from './relay/dispatch.ts';
import { createBoardTeller } from './sites/board.ts';
import { createHandshakeDesk } from './sites/handshakes.ts';
import { siteHandlers } from './sites/handlers.ts';
import { createInvitations } from './sites/invitations.ts';
import { createLedgerHeads } from './sites/ledger-heads.ts';
import { acceptSocket } from './sites/link.ts';
import { createPresence } from './sites/presence.ts';
import { roundStatistics } from './rounds/statistics.ts';
import { METHODS } from '../shared/wire/session.ts';
import { createExperiments } from './models/experiments.ts';
import { createModelCalls } from './models/calls.ts';
import { registerTrained } from './models/trained.ts';
import { type ModelRegistry, openModelRegistry } from './models/registry.ts';
import { createTrainingShelf } from './rounds/training-shelf.ts';
import { createRounds } from './rounds/rounds.ts';
import { openRegistry } from './sites/registry.ts';
import { attachSocketServer } from './sites/socket.ts';
import { startTasks } from './tasks/start.ts';
import { GENERATOR, VERSION } from '../shared/version.ts';

export interface CoordinatorDeps extends HomeOptions {
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface RunningCoordinator {
  readonly address: HttpAddress;
  readonly fingerprintPhrase: string;
  readonly home: CoordinatorHome;
  readonly models: ModelRegistry;
  /** What is asked for each time follows a new configuration at once; what needs a restart is said in the log. */
  reload(config: CoordinatorConfig): Promise<void>;
  close(): Promise<void>;
}

/** New sockets an address may open in a minute: agents behind one proxy share an address. */
const CONNECTIONS_PER_MINUTE = 600;

export const startCoordinator = async (
  settings: CoordinatorConfig,
  deps: CoordinatorDeps,
): Promise<RunningCoordinator> => {
  const { clock, random, logger, env } = deps;
  const home = await openCoordinatorHome({ ...deps, logQueueEntries: settings.limits.logQueueEntries });
  const undo: (() => Promise<void> | void)[] = [() => home.close()];
  let isStopping = false;
  const close = async (): Promise<void> => {
    isStopping = true;
    for (const step of undo.splice(0).toReversed()) await step();
  };
  try {
    return await assemble();
  } catch (error) {
    await close();
    throw error;
  }

  async function assemble(): Promise<RunningCoordinator> {
    const { store, vault, keyLog, audit } = home;
    await audit.record({ action: 'program.start', outcome: 'ok' });
    await logNotedRotation(store, audit);
    const masterKey = masterKeyInForce(deps.sources, { audit, random });
    undo.push(
      async () =>
        void (await audit
          .record({ action: 'program.stop', outcome: 'ok' })
          .catch((error: unknown) => logger.error({ err: error }, 'the stop could not be logged'))),
    );
    const tls = await tlsOf(settings.tls, { folder: settings.home, hosts: [settings.listen.host] }, clock);
    const tlsPin = settings.tls.selfSigned ? tls?.fingerprint : undefined;
    const registry = await openRegistry(store, keyLog, vault.identity, clock);
    const invitations = createInvitations(
      store,
      {
        get fingerprint() {
          return home.fingerprint;
        },
        tlsFingerprint: tlsPin,
      },
      clock,
      random,
    );
    const policy = await openPolicyBook(store);
    const presence = createPresence(clock, () => {
      board.changed();
      planner.sitesChanged();
      cosigning.changed();
    });
    const board = createBoardTeller(registry, () => presence, keyLog);
    undo.push(() => board.close());
    keyLog.onGrowth(() => board.changed());
    let inForce = settings;
    const metrics = createMetrics('coordinator');
    const meters = createCoordinatorMetrics(metrics.registry, presence, audit);
    undo.push(registerLoopDelay(metrics.registry));
    const plannerFailed = (error: unknown): void =>
      logger.error({ err: error }, 'a thread of the planner failed; it goes on without');
    const threads = createPlanningThreads(clock, { failed: plannerFailed });
    undo.push(() => threads.close());
    const plans = await openPlanShelf(store, plannerFailed);
    undo.push(() => plans.close());
    const planner = createLivePlanner({
      records: plans.records,
      presence,
      clock,
      meters,
      threads,
      tuning: () => inForce.planning,
      failed: plannerFailed,
    });
    undo.push(() => planner.close());
    registerPlanningMetrics(metrics.registry, planner);
    const describe = () => federationInfo(home.name, vault.identity, keyLog, audit.log.verifierKeys);
    let info = await describe();
    const ownKeys = await startCoordinatorKeys({
      vault,
      keyLog,
      audit,
      clock,
      logger,
      epochDays: () => inForce.keyEpochDays,
      async rotated(kind) {
        info = await describe();
        // Whoever may have the old keys is out; honest sites come back under the new ones at once.
        if (kind === 'emergency')
          presence.closeAll(new QflError('key_changed', { detail: 'the coordinator has new keys' }));
      },
    });
    undo.push(() => ownKeys.close());
    info = await describe();
    const exportLogs = createExportLogs({
      home,
      registry,
      presence,
      clock,
      policy,
      access: () => access,
      cosigning: () => cosigning,
      settings: () => inForce,
    });
    const pseudonyms = createActorPseudonyms(vault.secretFor('actors'));
    const rounds = createRounds({
      home: settings.home,
      federation: home.name,
      store,
      presence,
      identity: () => vault.identityNow(),
      identityOf(site) {
        const keys = keyLog.state.get(site);
        return keys === undefined || keys.revokedMs !== undefined ? undefined : keys.identity;
      },
      audit,
      clock,
      random,
      logger,
    });
    undo.push(() => rounds.close());
    await rounds.resume();
    const models = await openModelRegistry({
      home: settings.home,
      federation: home.name,
      store,
      identity: () => vault.identityNow(),
      audit,
      clock,
    });
    const work = await startTasks(settings, {
      train: {
        training: () => ({
          rounds,
          store,
          register: (made) => registerTrained(models, rounds, made),
          isStopping: () => isStopping,
          sitesNow: () =>
            registry
              .list()
              .filter(
                ({ site, status }) => status === 'approved' && presence.telemetry(site)?.records === true,
              )
              .map(({ site }) => site),
        }),
        pseudonymOf: (owner) => pseudonyms.of(owner),
      },
      actorOf: pseudonyms.actorOf,
      exportLogs,
      home,
      registry,
      presence,
      clock,
      random,
      logger,
      metrics: metrics.registry,
      settings: () => inForce.tasks,
    });
    undo.push(() => work.close());
    const access: Access = await startAccess({
      home,
      pseudonyms,
      settings: () => inForce,
      clock,
      random,
      logger,
      env,
      gate: (role) => emergency.lockdown.signInGate(role),
    });
    const emergency: Emergency = await startEmergency({
      home,
      policy,
      clock,
      random,
      logger,
      env,
      pseudonyms,
      trustedSinceMs: (account) => access.accounts.get(account).trustedSinceMs,
      settings: () => inForce.notifications,
      async stopEverything({ by }) {
        await audit.record({
          action: 'tokens.revoked',
          outcome: 'begun',
          ...(by === null ? {} : { actor: by }),
          objects: [{ kind: 'lockdown', id: 'on' }],
        });
        await access.sessions.endAll();
        await access.tokenKeys.rotate(true);
        await work.tasks.halt();
        await ownKeys.announceLockdown(true);
        presence.closeAll(new QflError('lockdown', { detail: 'an administrator stopped all processing' }));
      },
      async resume() {
        await ownKeys.announceLockdown(false);
        await work.tasks.resume();
        board.changed();
      },
    });
    undo.push(() => emergency.close());
    // A crash may have come between the state on the disk and all that has to stop, or go on, with it.
    await emergency.lockdown.complete();
    await emergency.proposals.complete();
    if (emergency.lockdown.state.on) await work.tasks.halt();
    // A crash may have come between the act and its record.
    await ownKeys.announceLockdown(emergency.lockdown.state.on);
    const admission = {
      check(envelope: Envelope): void {
        emergency.lockdown.check();
        policy.check(envelope);
      },
    };
    const cosigning = await startCosigning({
      federation: home.name,
      keyLog,
      audit: audit.log,
      presence,
      isApproved: (site) =>
        registry.list().some((entry) => entry.site === site && entry.status === 'approved'),
      store,
      clock,
      logger,
      rules: { ...DEFAULT_COSIGNING_RULES, everyMs: settings.audit.witnessIntervalMs },
    });
    undo.push(() => cosigning.close());
    const desk = createHandshakeDesk({
      keys: () => ownKeys.pairs(),
      hedge: vault.hedge,
      keyLog,
      registry,
      invitations,
      audit,
      clock,
      random,
    });
    const recoveries = createRecoveries({ store, keyLog, audit, clock });
    const statistics = roundStatistics({
      rounds,
      check(asked) {
        emergency.lockdown.check();
        policy.check(asked);
      },
    });
    await statistics.forgetOld();
    const handlersFor = siteHandlers({
      roundCalls: {
        ...rounds.calls,
        [METHODS.roundStats]: statistics.answer,
        ...createModelCalls(models),
      },
      recoveries,
      registry,
      presence,
      keyLog,
      identity: vault.identity,
      audit,
      clock,
      tasks: work.tasks.ledger,
      relayChat: relayChat({ presence, planner, audit, clock, policy: admission, meters }),
      collectStatistics: collectStatistics({ presence, audit, clock, policy: admission }),
      board,
      confirmedDirectory: () => cosigning.newest(keyLog.log.origin),
      ledgerHeads: createLedgerHeads({
        store,
        audit,
        identity: vault.identity,
        clock,
        identitiesOf(site) {
          const keys = keyLog.state.get(site);
          return keys === undefined ? undefined : (atMs) => identitiesAt(keys, atMs);
        },
      }),
    });
    const control = withControlKey(access.authenticator, random);
    const app = await createHttpApp({
      logger,
      clock,
      title: 'Quantum-Enhanced Federated LLM: coordinator',
      version: VERSION,
      bodyLimitBytes: settings.limits.bodyBytes,
      rateLimit: settings.limits.rateLimit,
      trustedProxies: settings.trustedProxies,
      access: {
        authenticator: control.authenticator,
        rules: access.rules,
        gate: emergency.lockdown.httpGate,
        refused: (operation, by) =>
          void audit
            .record({
              action: 'access.refused',
              outcome: 'refused',
              ...pseudonyms.actorOf(by),
              objects: [{ kind: 'operation', id: operation }],
            })
            .catch((error: unknown) => logger.error({ err: error }, 'a refusal could not be logged')),
      },
      metrics,
      examples: EXAMPLES,
      tls,
    });
    registerRoutes(app, {
      home,
      registry,
      invitations,
      presence,
      policy,
      metrics,
      metricsHere: metricsPlace(settings.metrics) === 'main',
      clock,
      startedMs: clock.nowMs(),
      exportLogs,
      pseudonyms,
      info: () => info,
    });
    registerAuthRoutes(app, { access, audit, publicUrl: () => inForce.publicUrl });
    registerAccountRoutes(app, {
      access,
      apiKeys: home.apiKeys,
      audit,
      clock,
      random,
      passwordPolicy: () => inForce.accounts.passwordPolicy,
    });
    registerBackupRoute(app, {
      audit,
      actorOf: pseudonyms.actorOf,
      keys: () => masterKey.keys(),
      source: () => coordinatorBackup(home, clock, GENERATOR),
    });
    registerEmergencyRoutes(app, emergency);
    registerDirectoryRoutes(app, recoveries);
    registerKeyRoutes(app, {
      show: () =>
        showOwnKeys({
          name: COORDINATOR_NAME,
          vault,
          directory: keyLog.state,
          nowMs: clock.nowMs(),
          epochDays: inForce.keyEpochDays,
        }),
      sites: () =>
        showSites({
          seen: keyLog.state,
          state: keyLog.state,
          nowMs: clock.nowMs(),
          compared: () => ({ comparison: null, comparedMs: null }),
        }),
      rotate: (kind, role) => ownKeys.rotate(kind, role),
      rotateMaster: (file, role) => masterKey.rotate(file, role),
    });
    registerReportRoutes(app, {
      audit,
      federation: home.name,
      clock,
      signer: home.exportSigner,
      notices: emergency.notices,
      pseudonyms,
      accounts: access.accounts,
      apiKeys: home.apiKeys,
      policy,
      registry,
      presence,
      settings: () => inForce,
    });
    registerAuditRoutes(app, {
      audit,
      retention: retentionOf(home, clock, random, settings.audit.retention),
      actorOf: pseudonyms.actorOf,
    });
    registerLogRoutes(
      app,
      [
        { name: 'keys', log: keyLog.log, entriesAccess: 'public' as const },
        { name: 'audit', log: audit.log, entriesAccess: 'audit.read' as const },
      ].map((one) => ({ ...one, cosigned: () => Promise.resolve(cosigning.newest(one.log.origin)) })),
      { access: 'public', text: () => policyOf(home) },
    );
    registerPlanRoutes(app, planner);
    registerQuantumRoutes(app, { planner, presence, planSeconds: meters.planSeconds });
    registerRoundRoutes(app, { rounds, tasks: work.tasks });
    registerExperimentRoutes(
      app,
      createExperiments({ tasks: work.tasks, shelf: createTrainingShelf(store), registry: models }),
    );
    registerModelRoutes(app, { registry: models, audit, actorOf: pseudonyms.actorOf });
    registerTaskRoutes(app, {
      tasks: work.tasks,
      audit,
      actorOf: pseudonyms.actorOf,
      health: work.health,
    });
    const sockets = attachSocketServer(app.fastify.server, {
      clock,
      connectionsPerMinute: CONNECTIONS_PER_MINUTE,
      accept: (wire, socketId) =>
        acceptSocket(wire, socketId, { desk, presence, clock, logger, handlersFor }),
    });
    if (settings.metrics.port !== null && metricsPlace(settings.metrics) === 'own')
      undo.push(await serveMetrics(metrics, { host: settings.listen.host, port: settings.metrics.port }));
    undo.push(() => app.close());
    undo.push(async () => {
      presence.closeAll(new QflError('not_connected', { detail: 'the coordinator is stopping' }));
      // One turn for the final frames to leave.
      await new Promise((resolve) => setTimeout(resolve, 50));
      await sockets.close();
    });
    const address = await app.listen(settings.listen);
    await writeControlFile(settings.home, {
      url: address.url,
      key: control.key,
      pid: process.pid,
      tlsFingerprint: tls?.fingerprint ?? null,
    });
    undo.push(() => removeControlFile(settings.home));
    logger.info({ url: address.url, fingerprint: toHex(home.fingerprint) }, 'the coordinator is ready');
    const reload = (next: CoordinatorConfig): Promise<void> => {
      inForce = next;
      const parts = needRestart(settings, next);
      if (parts.length > 0)
        logger.warn({ parts }, 'these parts of the configuration need a restart to change');
      return Promise.resolve();
    };
    return { address, fingerprintPhrase: fingerprintPhrase(home.fingerprint), home, models, reload, close };
  }
};
