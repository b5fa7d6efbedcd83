/** Rules that join several keys. */
import type { ConfigPath } from './environment.ts';
import type { ConfigFile } from './program-schema.ts';

export interface BrokenRule {
  readonly path: ConfigPath;
  readonly message: string;
}

const rule = (broken: boolean, path: ConfigPath, message: string): readonly BrokenRule[] =>
  broken ? [{ path, message }] : [];

const tlsRules = ({ tls }: ConfigFile): readonly BrokenRule[] => [
  ...rule(
    (tls.cert_file === null) !== (tls.key_file === null),
    ['tls'],
    'cert_file and key_file belong together',
  ),
  ...rule(
    tls.self_signed && tls.cert_file !== null,
    ['tls', 'self_signed'],
    'either self_signed or cert_file, not both',
  ),
];

const privacyRules = ({ privacy }: ConfigFile): readonly BrokenRule[] => [
  ...rule(
    privacy.epsilon_per_query > privacy.epsilon_per_query_max,
    ['privacy', 'epsilon_per_query'],
    'is above epsilon_per_query_max',
  ),
  ...rule(
    privacy.epsilon_per_query > privacy.max_budget_per_user,
    ['privacy', 'max_budget_per_user'],
    'is below epsilon_per_query: not one query would be answered',
  ),
];

const bounds = (low: number | undefined, high: number | undefined, path: ConfigPath): readonly BrokenRule[] =>
  rule(low !== undefined && high !== undefined && low > high, path, 'its minimum is above its maximum');

const scalingRules = ({ performance, autoscaling }: ConfigFile): readonly BrokenRule[] => [
  ...bounds(performance.auto_scaling.min_capacity, performance.auto_scaling.max_capacity, [
    'performance',
    'auto_scaling',
  ]),
  ...performance.scaling_policies.flatMap(({ min_instances: low, max_instances: high }, at) =>
    bounds(low, high, ['performance', 'scaling_policies', at]),
  ),
  ...bounds(autoscaling.api.min_replicas, autoscaling.api.max_replicas, ['autoscaling', 'api']),
];

const nameRules = (file: ConfigFile): readonly BrokenRule[] => {
  if (!('llm' in file)) return [];
  const names = file.llm.map(({ name }) => name);
  return names.flatMap((name, at) => rule(names.indexOf(name) < at, ['llm', at, 'name'], 'is there twice'));
};

/** All rules that `file` breaks. */
export const rulesOf = (file: ConfigFile): readonly BrokenRule[] => [
  ...tlsRules(file),
  ...privacyRules(file),
  ...scalingRules(file),
  ...nameRules(file),
];
