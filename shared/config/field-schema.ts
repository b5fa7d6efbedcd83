/** The keys that operators know from the field documents, with their settled defaults. Names and units are theirs. */
import { z } from 'zod';
import { isAddressRule } from '../access/addresses.ts';
import { isGrant } from '../access/table.ts';
import { RoleName } from '../http/role-name.ts';
import { SiteId } from '../ids.ts';

const section = <Shape extends z.ZodRawShape>(shape: Shape) => z.strictObject(shape);
const fraction = z.number().min(0).max(1);
const positive = z.number().positive();
const count = z.int().min(0);
const atLeastOne = z.int().min(1);
const isOn = (text: string) => z.literal(true, { error: text }).default(true);
const quantity = z.union([
  z.string().regex(/^\d+(\.\d+)?(m|Ki|Mi|Gi|Ti)?$/, 'a quantity such as 8Gi or 4000m'),
  count,
]);
const DataClassName = z.enum(['public', 'internal', 'confidential', 'restricted']);

/** More per query is refused by policy whatever the file says. */
export const EPSILON_PER_QUERY_POLICY_MAX = 1;

const password = section({
  min_length: z.int().min(8, 'at least 8 characters').default(12),
  require_uppercase: z.boolean().default(true),
  require_lowercase: z.boolean().default(true),
  require_digits: z.boolean().default(true),
  require_special: z.boolean().default(true),
});

const scaling = section({
  enabled: z.boolean().default(true),
  min_capacity: atLeastOne.default(2),
  max_capacity: atLeastOne.default(16),
  scale_up_threshold: fraction.default(0.8),
  scale_down_threshold: fraction.default(0.3),
});

const scalingPolicy = section({
  trigger: z.string(),
  scale_up_threshold: fraction,
  scale_down_threshold: fraction,
  min_instances: atLeastOne,
  max_instances: atLeastOne,
});

const replicas = section({
  min_replicas: count.optional(),
  max_replicas: count.optional(),
  target_cpu_utilization: z.number().min(1).max(100).optional(),
  target_memory_utilization: z.number().min(1).max(100).optional(),
  scale_up_threshold: fraction.optional(),
  scale_down_threshold: fraction.optional(),
});

const Grant = z.string().refine(isGrant, {
  error: ({ input }) =>
    `"${String(input)}" is no permission (query, measurement, planning, basic_planning, view, audit, administration, all) and no operation (such as sites.read)`,
});

const environmentName = z.string().regex(/^[A-Z][A-Z0-9_]*$/, 'the name of an environment variable');

const provider = section({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, 'a–z, 0–9 and "-"'),
  kind: z.enum(['oidc', 'github']).default('oidc'),
  issuer: z.url({ protocol: /^https?$/ }),
  api_url: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null),
  client_id: z.string().min(1).max(200),
  /** The environment variable that holds the secret; the secret itself has no place in a file. */
  client_secret_env: environmentName.nullable().default(null),
  scopes: z.array(z.string().min(1)).default(['openid', 'profile', 'email']),
  role_claim: z.string().min(1).default('groups'),
  username_claim: z.string().min(1).default('preferred_username'),
  /** Which value of the claim gives which role; the first that fits. Whoever has none does not come in. */
  roles: z.record(z.string(), RoleName).default({}),
});

const budgets = z.record(z.string().regex(/^[a-z][a-z0-9-]{0,39}$/), positive);

const siteBudgets = z.record(SiteId, positive);

export const fieldShape = {
  scheduler: section({
    max_parallel_tasks: atLeastOne.default(8),
    default_task_timeout: positive.default(3600),
    quantum_coherence_threshold: fraction.default(0.8),
  }).prefault({}),
  privacy: section({
    epsilon_per_query: positive.max(EPSILON_PER_QUERY_POLICY_MAX, 'at most 1 by policy').default(0.1),
    epsilon_per_query_max: positive
      .max(EPSILON_PER_QUERY_POLICY_MAX, 'at most 1 by policy')
      .default(EPSILON_PER_QUERY_POLICY_MAX),
    delta: positive.max(0.001, 'a delta above 0.001 protects nobody').default(1e-5),
    max_budget_per_user: positive.default(10),
    asking_site_daily_budget: positive.default(20),
    /** Sites whose daily cap is another than `asking_site_daily_budget`. */
    asking_site_budgets: siteBudgets.default({}),
    /** `rdp`: one order fixed for each ledger. `rdp_curve`: every order of the grid below rho·order. Fixed when a site joins. */
    composition_method: z.enum(['rdp', 'rdp_curve', 'zcdp', 'basic']).default('rdp'),
    /** Budgets of their own for the patients of each first admission month. */
    data_blocks: z.enum(['off', 'admission_month']).default('off'),
    data_block_budget: positive.default(20),
    /** The first month of data blocks: what a question reads that names none is from here to the month it is asked in. */
    data_block_first: z
      .string()
      .regex(/^[1-9]\d{3}-(0[1-9]|1[0-2])$/, 'a month such as 2024-01')
      .optional(),
    /** Share of every delta that is kept for releases above a threshold; the other questions get a little less. */
    threshold_delta_share: z.number().min(0).max(0.9, 'at most 0.9: the loss needs most of delta').default(0),
    department_budgets: budgets.default({ emergency: 20, icu: 15, surgery: 12, general: 8, research: 3 }),
    site_lifetime_budget: positive.default(20),
    site_lifetime_delta: positive.max(0.001, 'a delta above 0.001 protects nobody').default(1e-6),
  }).prefault({}),
  security: section({
    enable_encryption: isOn(
      'false is refused: patient data is encrypted in transit and at rest, without exception',
    ),
    enable_audit_trail: isOn('false is refused: what is not in the log before it happens does not happen'),
    security_level: DataClassName.default('confidential'),
    enable_quantum_signatures: z.boolean().default(true),
    security_lockdown: z.boolean().default(false),
    role_permissions: z.record(RoleName, z.array(Grant)).default({
      doctor: ['query', 'planning', 'measurement'],
      nurse: ['query', 'basic_planning'],
      researcher: ['query'],
      admin: ['all'],
    }),
    /** The highest class of data of each role; roles that are not named have that of the built-in table. */
    role_data_classes: z.record(RoleName, DataClassName).default({}),
    /** Roles whose people need a second factor. */
    second_factor_roles: z.array(RoleName).default(['admin']),
    session_timeout_hours: positive.default(8),
    session_idle_minutes: positive.default(30),
    lockout_minutes: positive.default(30),
    max_failed_login_attempts: atLeastOne.default(5),
    password_policy: password.prefault({}),
    key_rotation_days: positive.default(90),
    admin_allowed_addresses: z
      .array(z.string().refine(isAddressRule, 'an address or a CIDR block, such as 10.0.0.0/8'))
      .default([]),
  }).prefault({}),
  auth: section({
    jwt: section({
      algorithm: z
        .enum(['RS256', 'EdDSA'], { error: 'RS256 or EdDSA: no other algorithm is accepted' })
        .default('RS256'),
      expiration: positive.default(3600),
      refresh_token_expiration: positive.default(86_400),
    }).prefault({}),
    oauth2: section({ providers: z.array(z.string()).default(['google', 'github', 'microsoft']) }).prefault(
      {},
    ),
    /** Identity providers people may sign in with, each registered there with this coordinator's address. */
    providers: z.array(provider).max(16).default([]),
    rbac: section({ roles: z.array(z.string()).default(['admin', 'user', 'viewer']) }).prefault({}),
  }).prefault({}),
  quantum_planning: section({
    enable_superposition: z.boolean().default(true),
    enable_entanglement: z.boolean().default(true),
    enable_interference: z.boolean().default(true),
    coherence_threshold: fraction.default(0.8),
    max_entangled_tasks: z.int().min(1).max(5, 'at most 5: larger groups cannot be enumerated').default(5),
    optimization_strategy: z
      .enum(['latency_focused', 'throughput_focused', 'balanced', 'adaptive', 'aggressive', 'conservative'])
      .default('adaptive'),
    decoherence_mitigation: z.boolean().default(true),
    bell_inequality_threshold: positive.default(2),
    interference_resolution: positive.default(0.1),
  }).prefault({}),
  performance: section({
    cache_max_size: count.default(10_000),
    cache_ttl_seconds: positive.default(3600),
    auto_scaling: scaling.prefault({}),
    scaling_policies: z.array(scalingPolicy).default([]),
  }).prefault({}),
  resources: section({
    memory_limit: quantity.default('8Gi'),
    cpu_limit: quantity.default('4000m'),
    gpu_limit: count.default(1),
    max_superpositions: atLeastOne.default(100),
    max_entanglements: atLeastOne.default(50),
    coherence_pool_size: atLeastOne.default(1000),
  }).prefault({}),
  backends: section({
    simulator: section({
      enabled: z.boolean().default(true),
      max_qubits: atLeastOne.default(30),
      max_concurrent_jobs: atLeastOne.default(10),
    }).prefault({}),
    aws_braket: section({
      enabled: z.boolean().default(false),
      region: z.string().default('us-east-1'),
      device_arns: z.array(z.string()).default([]),
      max_shots: atLeastOne.default(100_000),
    }).prefault({}),
    ibm_quantum: section({
      enabled: z.boolean().default(false),
      hub: z.string().default('ibm-q'),
      group: z.string().default('open'),
      project: z.string().default('main'),
      backends: z.array(z.string()).default([]),
    }).prefault({}),
    ionq: section({
      enabled: z.boolean().default(false),
      api_url: z.url().nullable().default(null),
      timeout: positive.default(300),
    }).prefault({}),
  }).prefault({}),
  autoscaling: section({
    api: replicas.prefault({}),
    workers: section({ quantum: replicas.prefault({}), classical: replicas.prefault({}) }).prefault({}),
  }).prefault({}),
  liquid: section({
    sparsity: fraction.default(0.4),
    energy_budget_uw: positive.default(50),
    coherence_floor: fraction.default(0.6),
  }).prefault({}),
  monitoring: section({
    health_check_interval: positive.default(30),
    metrics_retention_days: positive.default(7),
    alert_thresholds: section({
      cpu_utilization: z.number().min(0).max(100).default(85),
      memory_utilization: z.number().min(0).max(100).default(90),
      error_rate: fraction.default(0.05),
    }).prefault({}),
  }).prefault({}),
  compliance: section({
    enable_hipaa_logging: z.boolean().default(true),
    enable_gdpr_compliance: z.boolean().default(true),
    data_retention_days: positive.default(2555),
    audit_retention_days: positive.default(3650),
    data_classification: z.record(z.string(), DataClassName).default({
      phi: 'restricted',
      clinical_notes: 'confidential',
      research_data: 'internal',
      system_logs: 'internal',
    }),
  }).prefault({}),
};
