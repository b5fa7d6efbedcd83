/** Keys that are accepted and do nothing yet, or something else than their name says. Never silent: each gets a notice. */
import { OTHER_ENVIRONMENT, type ConfigPath, type Environment } from './environment.ts';
import type { ConfigFile } from './program-schema.ts';

export interface ConfigNotice {
  /** `later`: a part that is not there yet will honour it. `replaced`: something else does its work. `adjusted`: used, not as written. */
  readonly kind: 'later' | 'replaced' | 'adjusted';
  /** Key path with dots, or the environment variable. */
  readonly path: string;
  readonly message: string;
}

type Entry = readonly [kind: ConfigNotice['kind'], path: string, message: string];

const PEOPLE = 'people sign in at the coordinator; an agent has API keys';
const PLANS = 'the coordinator plans; at an agent it does nothing';
const WORKERS = 'the coordinator has the worker pool; at an agent it does nothing';
const CACHE = 'the coordinator has the response cache; at an agent it does nothing';

/** Only a coordinator has what these are for; an agent says why not. */
const OF_THE_COORDINATOR: Readonly<Record<string, string>> = {
  'quantum_planning.enable_superposition': PLANS,
  'quantum_planning.enable_entanglement': PLANS,
  'quantum_planning.decoherence_mitigation': PLANS,
  'quantum_planning.coherence_threshold': PLANS,
  'quantum_planning.interference_resolution': PLANS,
  'quantum_planning.max_entangled_tasks': PLANS,
  'resources.max_superpositions': PLANS,
  'resources.max_entanglements': PLANS,
  'resources.coherence_pool_size': PLANS,
  'scheduler.max_parallel_tasks': 'the coordinator runs tasks; at an agent it does nothing',
  'scheduler.default_task_timeout': 'the coordinator runs tasks; at an agent it does nothing',
  'performance.auto_scaling': WORKERS,
  workers: WORKERS,
  'performance.cache_max_size': CACHE,
  'performance.cache_ttl_seconds': CACHE,
  'backends.simulator': 'the coordinator has the simulator; at an agent it does nothing',
  'security.session_timeout_hours': PEOPLE,
  'security.session_idle_minutes': PEOPLE,
  'security.lockout_minutes': PEOPLE,
  'security.second_factor_roles': PEOPLE,
  'security.max_failed_login_attempts': `${PEOPLE}, and rate limits hold there`,
  'security.password_policy': PEOPLE,
  'auth.jwt': PEOPLE,
  'auth.providers': PEOPLE,
  'monitoring.health_check_interval':
    "the coordinator's own; an agent's health is looked at when it is asked for",
};

/** Honoured inside a key that as a whole is not. */
const HONOURED: readonly string[] = ['security.key_rotation_days', 'quantum_planning.optimization_strategy'];

/** The longest path that fits speaks for a key. */
const NOT_HONOURED: readonly Entry[] = [
  ['replaced', 'scheduler', 'the coordinator runs tasks; at an agent it does nothing'],
  [
    'replaced',
    'scheduler.quantum_coherence_threshold',
    'quantum_planning.coherence_threshold is the one that counts',
  ],
  [
    'adjusted',
    'security.enable_quantum_signatures',
    'identity records, restricted questions and checkpoints always carry both signatures',
  ],
  [
    'replaced',
    'security.security_lockdown',
    'a lockdown is an act in the log, not a line in a file: `qfl lockdown on`',
  ],
  [
    'replaced',
    'auth.oauth2',
    'a provider needs an address and a client of its own: auth.providers has one entry for each',
  ],
  [
    'replaced',
    'auth.rbac',
    'security.role_permissions has the roles; user and viewer are among the built-in ones',
  ],
  ['later', 'quantum_planning', 'the planner does not ask for it yet and works with the default'],
  ['later', 'performance', 'the scaling part will honour it'],
  ['replaced', 'resources', 'limits of memory, processor and GPU belong to the service unit'],
  ['later', 'backends', 'the quantum back ends will honour it'],
  ['later', 'autoscaling', 'the deployment part will carry these'],
  ['later', 'liquid', 'the liquid model will honour it'],
  ['later', 'monitoring', 'the monitoring part will honour it; /health, /ready and /metrics answer already'],
  [
    'replaced',
    'compliance.enable_gdpr_compliance',
    'records of disclosure, erasure and holds are always there; none can be switched off',
  ],
  [
    'replaced',
    'compliance.data_classification',
    'requests and documents carry their class themselves; this map is not read',
  ],
];

const covers = (entry: string, path: string): boolean => path === entry || path.startsWith(`${entry}.`);

const OF_THE_COORDINATOR_ENTRIES = Object.entries(OF_THE_COORDINATOR).map(([path, message]): Entry => [
  'replaced',
  path,
  message,
]);

const noticeOf = (path: string, isAgent: boolean): ConfigNotice | undefined => {
  const honoured = isAgent ? HONOURED : [...HONOURED, ...Object.keys(OF_THE_COORDINATOR)];
  if (honoured.some((entry) => covers(entry, path))) return undefined;
  const [best] = [...NOT_HONOURED, ...OF_THE_COORDINATOR_ENTRIES]
    .filter(([, entry]) => covers(entry, path))
    .toSorted(([, left], [, right]) => right.length - left.length);
  return best === undefined ? undefined : { kind: best[0], path, message: best[2] };
};

const adjusted = (path: string, message: string): ConfigNotice => ({ kind: 'adjusted', path, message });

const strategyNotices = ({ quantum_planning: planning }: ConfigFile): readonly ConfigNotice[] => {
  const path = 'quantum_planning.optimization_strategy';
  if (planning.optimization_strategy === 'aggressive') {
    return [adjusted(path, 'aggressive is throughput_focused with queues twice as wide')];
  }
  if (planning.optimization_strategy === 'conservative') {
    return [adjusted(path, 'conservative is latency_focused with queues half as wide')];
  }
  return [];
};

const isCrossed = (bounds: {
  scale_up_threshold?: number | undefined;
  scale_down_threshold?: number | undefined;
}) =>
  bounds.scale_up_threshold !== undefined &&
  bounds.scale_down_threshold !== undefined &&
  bounds.scale_up_threshold <= bounds.scale_down_threshold;

const crossedNotices = ({ performance, autoscaling }: ConfigFile): readonly ConfigNotice[] => {
  const places = [
    ['performance.auto_scaling', performance.auto_scaling] as const,
    ...performance.scaling_policies.map(
      (policy, at) => [`performance.scaling_policies.${at}`, policy] as const,
    ),
    ['autoscaling.workers.quantum', autoscaling.workers.quantum] as const,
    ['autoscaling.workers.classical', autoscaling.workers.classical] as const,
  ];
  return places
    .filter(([, bounds]) => isCrossed(bounds))
    .map(([path]) =>
      adjusted(
        path,
        'scale_up_threshold is not above scale_down_threshold: the two are read the other way round',
      ),
    );
};

const environmentNotices = (env: Environment): readonly ConfigNotice[] =>
  Object.entries(OTHER_ENVIRONMENT)
    .filter(([name]) => env[name] !== undefined && env[name] !== '')
    .map(([name, message]) => ({
      kind: message.startsWith('replaced') ? 'replaced' : 'later',
      path: name,
      message,
    }));

/** Notices for the keys that were set (`paths`: every leaf of the file and the environment). */
export const noticesOf = (
  file: ConfigFile,
  paths: readonly ConfigPath[],
  env: Environment,
): readonly ConfigNotice[] => [
  ...paths.map((path) => noticeOf(path.join('.'), 'llm' in file)).filter((notice) => notice !== undefined),
  ...strategyNotices(file),
  ...crossedNotices(file),
  ...environmentNotices(env),
];
