/** The environment names that operators know, each as the key it stands for. The environment wins over the file. */
export type Environment = Readonly<Record<string, string | undefined>>;
export type ConfigPath = readonly (string | number)[];

export interface EnvironmentFault {
  readonly name: string;
  readonly path: ConfigPath;
  readonly message: string;
}

type Read = (text: string) => unknown;

const number: Read = (text) =>
  text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : undefined;
const scaled =
  (factor: number): Read =>
  (text) => {
    const value = number(text);
    return typeof value === 'number' ? value * factor : undefined;
  };
const plain: Read = (text) => text;
const lower: Read = (text) => text.toLowerCase();
const BOOLEANS: Readonly<Record<string, boolean>> = {
  true: true,
  '1': true,
  yes: true,
  on: true,
  false: false,
  '0': false,
  no: false,
  off: false,
};
const boolean: Read = (text) => BOOLEANS[text.toLowerCase()];

interface Variable {
  readonly name: string;
  readonly path: ConfigPath;
  readonly read: Read;
  /** Only this program has the key. */
  readonly only?: 'agent' | 'coordinator';
}

/** Later names win over earlier ones that stand for the same key. */
export const ENVIRONMENT: readonly Variable[] = [
  { name: 'ENVIRONMENT', path: ['environment'], read: lower },
  { name: 'QUANTUM_LOG_LEVEL', path: ['log_level'], read: lower },
  { name: 'LOG_LEVEL', path: ['log_level'], read: lower },
  { name: 'WORKERS', path: ['workers'], read: number },
  { name: 'QUANTUM_MAX_PARALLEL_TASKS', path: ['scheduler', 'max_parallel_tasks'], read: number },
  { name: 'QUANTUM_HEALTH_CHECK_INTERVAL', path: ['monitoring', 'health_check_interval'], read: number },
  { name: 'QUANTUM_SESSION_TIMEOUT', path: ['security', 'session_timeout_hours'], read: scaled(1 / 3600) },
  { name: 'QUANTUM_MAX_FAILED_LOGINS', path: ['security', 'max_failed_login_attempts'], read: number },
  { name: 'QUANTUM_PASSWORD_MIN_LENGTH', path: ['security', 'password_policy', 'min_length'], read: number },
  { name: 'QUANTUM_CACHE_SIZE', path: ['performance', 'cache_max_size'], read: number },
  { name: 'QUANTUM_CACHE_TTL', path: ['performance', 'cache_ttl_seconds'], read: number },
  { name: 'QUANTUM_OPTIMIZATION_STRATEGY', path: ['quantum_planning', 'optimization_strategy'], read: lower },
  { name: 'OPTIMIZATION_STRATEGY', path: ['quantum_planning', 'optimization_strategy'], read: lower },
  {
    name: 'QUANTUM_METRICS_RETENTION_HOURS',
    path: ['monitoring', 'metrics_retention_days'],
    read: scaled(1 / 24),
  },
  { name: 'QUANTUM_COHERENCE_THRESHOLD', path: ['quantum_planning', 'coherence_threshold'], read: number },
  { name: 'MAX_ENTANGLED_TASKS', path: ['quantum_planning', 'max_entangled_tasks'], read: number },
  { name: 'LIQUID_SPARSITY', path: ['liquid', 'sparsity'], read: number },
  { name: 'ENERGY_BUDGET_UW', path: ['liquid', 'energy_budget_uw'], read: number },
  { name: 'ENABLE_METRICS', path: ['metrics', 'enabled'], read: boolean },
  { name: 'SSL_CERT_PATH', path: ['tls', 'cert_file'], read: plain },
  { name: 'SSL_KEY_PATH', path: ['tls', 'key_file'], read: plain },
  { name: 'QFL_HOME', path: ['home'], read: plain },
  { name: 'QFL_LISTEN_HOST', path: ['listen', 'host'], read: plain },
  { name: 'QFL_LISTEN_PORT', path: ['listen', 'port'], read: number },
  { name: 'QFL_COORDINATOR_URL', path: ['coordinator', 'url'], read: plain, only: 'agent' },
];

/** Names with no key of their own. Those that other parts read at their place need no word; the rest get a notice. */
export const OTHER_ENVIRONMENT: Readonly<Record<string, string>> = {
  JWT_SECRET: 'replaced: tokens are signed by keys of their own, kept encrypted under the master key.',
  SECRET_KEY: 'replaced: sessions are kept encrypted under the master key.',
  QUANTUM_ALERT_EMAIL:
    'the monitoring part will read it; until then alerts come from Prometheus rules on /metrics.',
  DATABASE_URL: 'the clustered coordinator will read it; one coordinator keeps its own store in `home`.',
  REDIS_URL: 'the clustered coordinator will read it; one coordinator needs no bus.',
  QUANTUM_BACKENDS: 'the quantum back ends will read it; plans come from classical solvers on this machine.',
  AWS_ACCESS_KEY_ID: 'the Braket back end will read it.',
  AWS_SECRET_ACCESS_KEY: 'the Braket back end will read it.',
  IBM_QUANTUM_TOKEN: 'the IBM back end will read it.',
  IONQ_API_KEY: 'the IonQ back end will read it.',
  MLFLOW_TRACKING_URI: 'the model registry will export to it.',
  PROMETHEUS_URL: 'replaced by /metrics, which Prometheus scrapes.',
  GRAFANA_URL: 'replaced by /metrics; dashboards come with the deployment part.',
};

export interface Override {
  readonly name: string;
  readonly path: ConfigPath;
  readonly value: unknown;
}

/** What the environment sets; an empty variable counts as not set. */
export const readEnvironment = (
  program: 'agent' | 'coordinator',
  env: Environment,
): { readonly overrides: readonly Override[]; readonly faults: readonly EnvironmentFault[] } => {
  const overrides: Override[] = [];
  const faults: EnvironmentFault[] = [];
  for (const { name, path, read, only } of ENVIRONMENT) {
    const text = env[name];
    if (text === undefined || text === '' || (only !== undefined && only !== program)) continue;
    const value = read(text);
    if (value === undefined) faults.push({ name, path, message: 'does not read as a value of this key' });
    else overrides.push({ name, path, value });
  }
  return { overrides, faults };
};
