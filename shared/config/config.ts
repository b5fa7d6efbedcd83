/** The settings as the programs use them: camelCase, units in the names, frozen. */
import type { AgentFile, ConfigFile, CoordinatorFile } from './program-schema.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;

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
});

const securityOf = ({ security }: ConfigFile) => ({
  defaultDataClass: security.security_level,
  rolePermissions: new Map(Object.entries(security.role_permissions)) as ReadonlyMap<
    string,
    readonly string[]
  >,
});

const limitsOf = ({ limits }: ConfigFile) => ({
  rateLimit: { requestsMax: limits.requests_per_minute, windowMs: MINUTE_MS, keysMax: limits.rate_keys },
  bodyBytes: limits.body_bytes,
  logQueueEntries: limits.log_queue_entries,
  chatsInFlight: limits.chats_in_flight,
  chatTimeoutMs: limits.chat_timeout_seconds * SECOND_MS,
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
  privacy: privacyOf(file),
  security: securityOf(file),
  planning: strategyOf(file.quantum_planning.optimization_strategy),
});

const deepFreeze = <Value>(value: Value): Value => {
  if (typeof value !== 'object' || value === null || value instanceof Map || Object.isFrozen(value))
    return value;
  for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
};

type DeepReadonly<Value> =
  Value extends ReadonlyMap<unknown, unknown>
    ? Value
    : Value extends object
      ? { readonly [Key in keyof Value]: DeepReadonly<Value[Key]> }
      : Value;

export type CoordinatorConfig = DeepReadonly<ReturnType<typeof sharedOf>>;

export const coordinatorConfig = (file: CoordinatorFile): CoordinatorConfig => deepFreeze(sharedOf(file));

const agentOf = (file: AgentFile) => ({
  ...sharedOf(file),
  coordinator: { url: file.coordinator.url, caFile: file.coordinator.ca_file },
  llm: file.llm.map(({ name, url, api_key_env: apiKeyEnv, models, slots }) => ({
    name,
    url,
    apiKeyEnv,
    models,
    slots,
  })),
});

export type AgentConfig = DeepReadonly<ReturnType<typeof agentOf>>;

export const agentConfig = (file: AgentFile): AgentConfig => deepFreeze(agentOf(file));
