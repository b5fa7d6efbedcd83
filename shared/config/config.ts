/** The settings as the programs use them: camelCase, units in the names, frozen. */
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../clock.ts';
import type { DataClass } from '../wire/envelope.ts';
import type { AgentFile, ConfigFile, CoordinatorFile } from './program-schema.ts';

export type Strategy = 'latency_focused' | 'throughput_focused' | 'balanced' | 'adaptive';

const strategyOf = (
  name: ConfigFile['quantum_planning']['optimization_strategy'],
): {
  readonly strategy: Strategy;
  /** Width of the queues against the strategy's own. */
  readonly queueFactor: number;
} => {
  if (name === 'aggressive') return { strategy: 'throughput_focused', queueFactor: 2 };
  if (name === 'conservative') return { strategy: 'latency_focused', queueFactor: 0.5 };
  return { strategy: name, queueFactor: 1 };
};

const planningOf = ({ quantum_planning: planning, resources }: ConfigFile) => ({
  ...strategyOf(planning.optimization_strategy),
  superposition: planning.enable_superposition,
  entanglement: planning.enable_entanglement,
  mitigation: planning.decoherence_mitigation,
  coherenceThreshold: planning.coherence_threshold,
  interferenceResolution: planning.interference_resolution,
  groups: { tasksMax: planning.max_entangled_tasks, groupsMax: resources.max_entanglements },
  superpositionsMax: resources.max_superpositions,
  ensemblePlansMax: resources.coherence_pool_size,
});

const tlsOf = ({ tls }: ConfigFile) => ({
  certFile: tls.cert_file,
  keyFile: tls.key_file,
  selfSigned: tls.self_signed,
});

const privacyOf = ({ privacy }: ConfigFile) => ({
  epsilonPerQuery: privacy.epsilon_per_query,
  epsilonPerQueryMax: privacy.epsilon_per_query_max,
  delta: privacy.delta,
  userDailyBudgetEpsilon: privacy.max_budget_per_user,
  askingSiteDailyBudgetEpsilon: privacy.asking_site_daily_budget,
  departmentDailyBudgetsEpsilon: new Map(Object.entries(privacy.department_budgets)) as ReadonlyMap<
    string,
    number
  >,
  siteLifetimeBudgetEpsilon: privacy.site_lifetime_budget,
  siteLifetimeDelta: privacy.site_lifetime_delta,
  askingSiteDailyBudgetsEpsilon: new Map(Object.entries(privacy.asking_site_budgets)) as ReadonlyMap<
    string,
    number
  >,
  compositionMethod: privacy.composition_method,
  dataBlocks: privacy.data_blocks,
  dataBlockBudgetEpsilon: privacy.data_block_budget,
  dataBlockFirst: privacy.data_block_first ?? null,
  thresholdDeltaShare: privacy.threshold_delta_share,
});

const securityOf = ({ security }: ConfigFile) => ({
  defaultDataClass: security.security_level,
  rolePermissions: new Map(Object.entries(security.role_permissions)) as ReadonlyMap<
    string,
    readonly string[]
  >,
  roleDataClasses: new Map(Object.entries(security.role_data_classes)) as ReadonlyMap<string, DataClass>,
  adminAllowedAddresses: security.admin_allowed_addresses,
});

const accountsOf = ({ security, auth }: ConfigFile) => ({
  passwordPolicy: {
    lengthMin: security.password_policy.min_length,
    needsUppercase: security.password_policy.require_uppercase,
    needsLowercase: security.password_policy.require_lowercase,
    needsDigit: security.password_policy.require_digits,
    needsSpecial: security.password_policy.require_special,
  },
  secondFactorRoles: new Set(security.second_factor_roles) as ReadonlySet<string>,
  sessionLifeMs: security.session_timeout_hours * HOUR_MS,
  sessionIdleMs: security.session_idle_minutes * MINUTE_MS,
  lockout: {
    failuresMax: security.max_failed_login_attempts,
    lockedMs: security.lockout_minutes * MINUTE_MS,
  },
  tokens: {
    algorithm: auth.jwt.algorithm,
    lifeMs: auth.jwt.expiration * SECOND_MS,
    refreshLifeMs: auth.jwt.refresh_token_expiration * SECOND_MS,
    keyLifeDays: security.key_rotation_days,
  },
  providers: auth.providers.map((one) => ({
    name: one.name,
    kind: one.kind,
    issuer: one.issuer,
    apiUrl: one.api_url,
    clientId: one.client_id,
    clientSecretEnv: one.client_secret_env,
    scopes: one.kind === 'github' && one.scopes.includes('openid') ? ['read:user', 'read:org'] : one.scopes,
    roleClaim: one.role_claim,
    usernameClaim: one.username_claim,
    roles: Object.entries(one.roles),
  })),
});

const notificationsOf = ({ notifications: { webhooks, smtp } }: CoordinatorFile) => ({
  webhooks: webhooks.map(({ url, secret_env: secretEnv }) => ({ url, secretEnv })),
  smtp:
    smtp.host === null
      ? null
      : {
          host: smtp.host,
          port: smtp.port,
          tls: smtp.tls,
          userEnv: smtp.user_env,
          passwordEnv: smtp.password_env,
          from: smtp.from,
          to: smtp.to,
        },
});

const limitsOf = ({ limits }: ConfigFile) => ({
  rateLimit: { requestsMax: limits.requests_per_minute, windowMs: MINUTE_MS, keysMax: limits.rate_keys },
  bodyBytes: limits.body_bytes,
  logQueueEntries: limits.log_queue_entries,
  chatsInFlight: limits.chats_in_flight,
  chatTimeoutMs: limits.chat_timeout_seconds * SECOND_MS,
});

const auditOf = ({ audit, compliance }: ConfigFile) => ({
  witnessIntervalMs: audit.witness_interval_seconds * SECOND_MS,
  directoryAgeMaxMs: audit.directory_age_max_seconds * SECOND_MS,
  retention: {
    auditDays: compliance.audit_retention_days,
    dataDays: compliance.data_retention_days,
    duty: compliance.enable_hipaa_logging,
  },
});

const sharedOf = (file: ConfigFile) => ({
  environment: file.environment,
  logLevel: file.log_level,
  logFile: file.log_file,
  listen: { host: file.listen.host, port: file.listen.port },
  home: file.home,
  tls: tlsOf(file),
  metrics: { enabled: file.metrics.enabled, port: file.metrics.port },
  trustedProxies: file.trusted_proxies,
  limits: limitsOf(file),
  audit: auditOf(file),
  privacy: privacyOf(file),
  security: securityOf(file),
  planning: planningOf(file),
  /** Days of a KEM epoch. */
  keyEpochDays: file.security.key_rotation_days,
});

const deepFreeze = <Value>(value: Value): Value => {
  const isOpen = typeof value === 'object' && value !== null && !Object.isFrozen(value);
  if (!isOpen || value instanceof Map || value instanceof Set) return value;
  for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
};

type DeepReadonly<Value> = Value extends ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
  ? Value
  : Value extends object
    ? { readonly [Key in keyof Value]: DeepReadonly<Value[Key]> }
    : Value;

/** Thresholds given the other way round are read in their order, and never so close that the pool swings between them. */
const workersOf = ({ performance: { auto_scaling: scaling }, workers }: ConfigFile) => {
  const [low = 0, high = 0] = [scaling.scale_down_threshold, scaling.scale_up_threshold].toSorted(
    (a, b) => a - b,
  );
  const upAt = Math.max(high, 0.05);
  const sizeMax = scaling.enabled ? scaling.max_capacity : scaling.min_capacity;
  const capped = workers === null ? sizeMax : Math.min(sizeMax, workers);
  return {
    sizeMin: Math.min(scaling.min_capacity, capped),
    sizeMax: capped,
    upAt,
    downAt: Math.min(low, upAt / 2),
  };
};

const coordinatorOf = (file: CoordinatorFile) => ({
  ...sharedOf(file),
  accounts: accountsOf(file),
  notifications: notificationsOf(file),
  publicUrl: file.public_url,
  organisation: {
    name: file.organisation.name,
    contact: file.organisation.contact,
    dataProtectionOfficer: file.organisation.data_protection_officer,
  },
  tasks: {
    parallelMax: file.scheduler.max_parallel_tasks,
    timeoutMs: Math.round(file.scheduler.default_task_timeout * SECOND_MS),
  },
  workers: workersOf(file),
  cache: {
    entriesMax: file.performance.cache_max_size,
    lifeMs: file.performance.cache_ttl_seconds * SECOND_MS,
  },
  simulator: {
    enabled: file.backends.simulator.enabled,
    qubitsMax: file.backends.simulator.max_qubits,
    jobsMax: file.backends.simulator.max_concurrent_jobs,
  },
  healthIntervalMs: file.monitoring.health_check_interval * SECOND_MS,
});

export type CoordinatorConfig = DeepReadonly<ReturnType<typeof coordinatorOf>>;

export const coordinatorConfig = (file: CoordinatorFile): CoordinatorConfig =>
  deepFreeze(coordinatorOf(file));

const agentOf = (file: AgentFile) => ({
  ...sharedOf(file),
  coordinator: { url: file.coordinator.url, caFile: file.coordinator.ca_file },
  llm: file.llm.map(({ name, url, api_key_env: apiKeyEnv, models, slots, ...llm }) => ({
    name,
    url,
    apiKeyEnv,
    models,
    slots,
    slotsMax: Math.max(slots, llm.slots_max ?? slots),
    tokensMax: llm.tokens,
    tokenPriceMicros:
      llm.price_per_thousand_tokens === null ? null : Math.round(llm.price_per_thousand_tokens * 1e6),
  })),
  departmentPriorities: file.department_priorities,
  rounds: {
    minCohort: file.rounds.min_cohort,
    onlyCompared: file.rounds.only_compared,
    allowsUnmasked: file.rounds.unmasked,
    allowsSiteUnit: file.rounds.site_unit,
  },
  training: {
    localFit: file.training.local_fit,
    external: new Map(
      Object.entries(file.training.external).map(([name, one]) => [
        name,
        {
          command: one.command,
          timeLimitMs: Math.ceil(one.time_limit_seconds * SECOND_MS),
          memoryLimitBytes: one.memory_limit_mb === null ? null : one.memory_limit_mb * 1024 * 1024,
          dtype: one.dtype,
        },
      ]),
    ),
  },
});

export type AgentConfig = DeepReadonly<ReturnType<typeof agentOf>>;

export const agentConfig = (file: AgentFile): AgentConfig => deepFreeze(agentOf(file));
