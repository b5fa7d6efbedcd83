/** Our own keys beside those of the field documents, for each program, and the whole schemas. */
import { z } from 'zod';
import { isLoopbackUrl } from '../http/tls.ts';
import { fieldShape } from './field-schema.ts';

const section = <Shape extends z.ZodRawShape>(shape: Shape) => z.strictObject(shape);
const port = z.int().min(0).max(65_535);
const atLeastOne = z.int().min(1);

const tls = section({
  cert_file: z.string().nullable().default(null),
  key_file: z.string().nullable().default(null),
  self_signed: z.boolean().default(false),
});

const limits = section({
  requests_per_minute: atLeastOne.default(600),
  body_bytes: atLeastOne.default(1024 * 1024),
  rate_keys: atLeastOne.default(10_000),
  log_queue_entries: atLeastOne.default(65_536),
  chats_in_flight: atLeastOne.default(64),
  chat_timeout_seconds: z.number().positive().default(300),
});

const audit = section({
  /** How often the sites cosign the logs while nothing changes; half the age below at most. */
  witness_interval_seconds: z.number().min(1).max(300).default(60),
  /** A directory whose quorum is older answers no new question. */
  directory_age_max_seconds: z.number().min(10).max(3_600).default(600),
});

const shared = {
  ...fieldShape,
  environment: z.enum(['production', 'development', 'test']).default('production'),
  log_level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** null: the error stream. A file is reopened on SIGHUP, after logrotate has moved it. */
  log_file: z.string().min(1).nullable().default(null),
  workers: atLeastOne.nullable().default(null),
  tls: tls.prefault({}),
  limits: limits.prefault({}),
  audit: audit.prefault({}),
  trusted_proxies: z.array(z.string()).default([]),
};

const metrics = section({
  enabled: z.boolean().default(true),
  /** null: `/metrics` is answered on the main port. */
  port: port.nullable().default(null),
});

const listen = (defaultPort: number) =>
  section({ host: z.string().min(1).default('127.0.0.1'), port: port.default(defaultPort) }).prefault({});

const environmentName = z
  .string()
  .regex(/^[A-Z][A-Z0-9_]*$/, 'the name of an environment variable')
  .nullable()
  .default(null);

const notifications = section({
  /** Each gets every notice as signed JSON. */
  webhooks: z
    .array(
      section({
        url: z.url({ protocol: /^https?$/ }),
        /** Holds the secret that signs what is sent: `whsec_` and base64, or a text of one's own. */
        secret_env: environmentName,
      }).refine(({ url, secret_env: secretEnv }) => secretEnv !== null || isLoopbackUrl(url), {
        path: ['secret_env'],
        error:
          'a webhook outside this machine needs a secret: who gets it could not tell our notices from others',
      }),
    )
    .max(16)
    .default([]),
  smtp: section({
    host: z.string().min(1).nullable().default(null),
    port: port.default(587),
    /** True: TLS from the first byte (port 465); else STARTTLS, without which nothing is sent but to this machine. */
    tls: z.boolean().default(false),
    user_env: environmentName,
    password_env: environmentName,
    from: z.string().min(3).nullable().default(null),
    to: z.array(z.string().min(3)).max(50).default([]),
  }).prefault({}),
});

export const CoordinatorFile = z.strictObject({
  ...shared,
  /** The address people reach this coordinator under, where it is not the one it listens on; for identity providers. */
  public_url: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null),
  /** Who runs the federation: for reports and drafted notices. */
  organisation: section({
    name: z.string().max(200).nullable().default(null),
    contact: z.string().max(500).nullable().default(null),
    data_protection_officer: z.string().max(500).nullable().default(null),
  }).prefault({}),
  notifications: notifications.prefault({}),
  listen: listen(8080),
  home: z.string().min(1).default('./coordinator-home'),
  metrics: metrics.prefault({}),
});
export type CoordinatorFile = z.infer<typeof CoordinatorFile>;

const llm = section({
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/i),
  url: z.url({ protocol: /^https?$/ }),
  /** The environment variable that holds the key; the key itself has no place in a file. */
  api_key_env: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/, 'the name of an environment variable')
    .nullable()
    .default(null),
  models: z.array(z.string()).nullable().default(null),
  slots: atLeastOne.default(4),
  /** Slots that it may learn to use beyond `slots` while the back end keeps up; null: no more than `slots`. */
  slots_max: atLeastOne.nullable().default(null),
  /** Tokens that it holds at once (its KV cache), prompt and answer together; null: nobody knows, and the planner does not count them. */
  tokens: atLeastOne.nullable().default(null),
  /** Announced price of a thousand tokens in the federation's currency; null: free. */
  price_per_thousand_tokens: z.number().nonnegative().max(1_000).nullable().default(null),
});

/** A program of the site's own that trains: deploy/training.md. */
const externalTrainer = section({
  /** An absolute path and its arguments. It is started by nothing but this file. */
  command: z
    .array(z.string().min(1).max(4_096))
    .min(1)
    .max(64)
    .refine(([program]) => program?.startsWith('/') === true, {
      error: 'the program of a trainer is named by its whole path',
    }),
  time_limit_seconds: z.number().positive().max(604_800).default(600),
  /** Of address space; null: as much as the machine gives. */
  memory_limit_mb: z.int().min(16).nullable().default(2_048),
  /** How the weights are written for it. */
  dtype: z.enum(['F32', 'F64']).default('F32'),
});

export const AgentFile = z.strictObject({
  ...shared,
  listen: listen(7070),
  home: z.string().min(1).default('./agent-home'),
  metrics: metrics.prefault({}),
  coordinator: section({
    url: z
      .url({ protocol: /^https?$/ })
      .nullable()
      .default(null),
    ca_file: z.string().nullable().default(null),
  }).prefault({}),
  llm: z.array(llm).max(32).default([]),
  /** What this site takes part in of sealed rounds. */
  rounds: section({
    /** No sum of fewer sites; null: two thirds of those that take part, three at least. */
    min_cohort: z.int().min(2).max(1_000).nullable().default(null),
    /** Only with sites whose fingerprint was compared by voice here: an operator that puts hospitals of its own into the directory gets nobody's sum. */
    only_compared: z.boolean().default(false),
    /** Rounds in which the coordinator sees this site's vector, under this site's own noise alone. */
    unmasked: z.boolean().default(false),
    /** Rounds that protect whole sites, not patients. */
    site_unit: z.boolean().default(false),
  }).prefault({}),
  training: section({
    /** Predictions by weights fitted to this site's own patients, without noise: for its own users. */
    local_fit: z.boolean().default(false),
    external: z.record(z.string().regex(/^[\w.-]{1,64}$/), externalTrainer).default({}),
  }).prefault({}),
  /** Priority of a department's questions, 0 (background) to 9 (emergency; 8 and 9 may use the slots that are kept for emergencies). */
  department_priorities: z
    .record(z.string(), z.int().min(0).max(9))
    .default({ emergency: 9, icu: 8, surgery: 6, general: 4, research: 2 }),
});
export type AgentFile = z.infer<typeof AgentFile>;

export type ConfigFile = CoordinatorFile | AgentFile;
