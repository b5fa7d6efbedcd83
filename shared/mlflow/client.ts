/** The part of MLflow's REST API 2.0 that an export needs (mlflow.org, "REST API"); with retries of what passes. */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { toBase64, utf8 } from '../bytes.ts';
import { type ErrorCode, QflError } from '../errors.ts';
import { isLoopback } from '../http/tls.ts';

export type MlflowCredentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'basic'; readonly user: string; readonly password: string };

export interface MlflowOptions {
  /** Such as `https://mlflow.example.org`. */
  readonly url: string;
  readonly credentials: MlflowCredentials;
  readonly timeoutMs?: number;
  /** Between attempts; a test's takes no time. */
  readonly pause?: (ms: number) => Promise<unknown>;
}

export interface Tag {
  readonly key: string;
  readonly value: string;
}
export interface Metric {
  readonly key: string;
  readonly value: number;
  readonly timestamp: number;
  readonly step: number;
}
export interface Batch {
  readonly metrics: readonly Metric[];
  readonly params: readonly Tag[];
  readonly tags: readonly Tag[];
}
export interface FoundRun {
  readonly id: string;
  readonly status: string;
}

/** Each throws QflError `unauthenticated`, `forbidden`, `invalid_request`, `not_found`, `conflict`, `not_connected`, `timeout`, `protocol`. */
export interface MlflowClient {
  /** Its id; undefined where there is none of this name. @throws QflError `conflict` for one that was deleted: its name stays taken */
  experiment(name: string): Promise<string | undefined>;
  createExperiment(name: string): Promise<string>;
  /** Runs of the experiment with this tag. */
  runs(experiment: string, tag: Tag): Promise<readonly FoundRun[]>;
  createRun(
    experiment: string,
    run: { readonly name: string; readonly startMs: number; readonly tags: readonly Tag[] },
  ): Promise<string>;
  deleteRun(run: string): Promise<void>;
  log(run: string, batch: Batch): Promise<void>;
  finishRun(run: string, endMs: number): Promise<void>;
  /** True where it is new. */
  createModel(name: string, description: string): Promise<boolean>;
  /** Versions of the model that came of this run. */
  versions(name: string, run: string): Promise<readonly string[]>;
  createVersion(version: {
    readonly name: string;
    readonly source: string;
    readonly run: string;
    readonly tags: readonly Tag[];
    readonly description: string;
  }): Promise<string>;
}

const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
const TIMEOUT_MS = 30_000;
/** 429 and what a server or a proxy answers while it is not itself. */
const PASSING: ReadonlySet<number> = new Set([429, 500, 502, 503, 504]);
const EXISTS = 'RESOURCE_ALREADY_EXISTS';
const ABSENT = 'RESOURCE_DOES_NOT_EXIST';

const Fault = z.looseObject({ error_code: z.string().catch('?'), message: z.string().catch('') });

/** What the server says of itself; `reason` is MLflow's error code. */
class MlflowFault extends Error {
  readonly status: number;
  readonly reason: string;
  constructor(status: number, body: unknown) {
    const { error_code: reason, message } = Fault.catch({ error_code: '?', message: '' }).parse(body);
    super(message.slice(0, 500));
    this.status = status;
    this.reason = reason;
  }
}

const CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid_request',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  429: 'rate_limited',
};

const errorOf = (path: string, fault: unknown, url: string): QflError => {
  if (fault instanceof QflError) return fault;
  if (fault instanceof MlflowFault)
    return new QflError(CODES[fault.status] ?? 'not_connected', {
      detail: `MLflow answered ${path} with ${fault.status} ${fault.reason}: ${fault.message}`,
      ...(fault.status === 401 || fault.status === 403
        ? { next: 'Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.' }
        : {}),
    });
  const isLate = fault instanceof Error && fault.name === 'TimeoutError';
  return new QflError(isLate ? 'timeout' : 'not_connected', {
    detail: `MLflow at ${url} ${isLate ? 'did not answer in time' : 'could not be reached'}`,
    next: 'Check the address and that the server runs.',
    cause: fault,
  });
};

/** @throws QflError `config_invalid`: over plain http credentials and figures would travel readable */
const baseOf = (url: string): string => {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const host = parsed?.hostname.replace(/^\[|\]$/g, '') ?? '';
  const isFine = parsed?.protocol === 'https:' || (parsed?.protocol === 'http:' && isLoopback(host));
  if (parsed === undefined || !isFine || parsed.username !== '' || parsed.password !== '')
    throw new QflError('config_invalid', {
      detail: 'this address of an MLflow server cannot be used',
      next: 'Use https://… without a password in it; http:// only to this machine.',
    });
  return `${url.replace(/\/+$/, '')}/api/2.0/mlflow/`;
};

const headersOf = (credentials: MlflowCredentials): Record<string, string> => {
  if (credentials.kind === 'none') return {};
  if (credentials.kind === 'bearer') return { authorization: `Bearer ${credentials.token}` };
  return { authorization: `Basic ${toBase64(utf8(`${credentials.user}:${credentials.password}`))}` };
};

/** In a filter's string; MLflow has no escape for a quote. @throws QflError `invalid_request` */
const quoted = (text: string): string => {
  if (/['"`\\]/.test(text))
    throw new QflError('invalid_request', { detail: 'a name with a quote cannot be looked for in MLflow' });
  return `'${text}'`;
};

type Call = <Schema extends z.ZodType>(
  method: 'GET' | 'POST',
  path: string,
  schema: Schema,
  input: Readonly<Record<string, unknown>>,
) => Promise<z.output<Schema>>;

const callerOf = ({ url, credentials, timeoutMs = TIMEOUT_MS, pause = delay }: MlflowOptions): Call => {
  const base = baseOf(url);
  const once = async (method: string, path: string, input: Readonly<Record<string, unknown>>) => {
    const address = new URL(base + path);
    if (method === 'GET')
      for (const [name, value] of Object.entries(input)) address.searchParams.set(name, String(value));
    const answer = await fetch(address, {
      method,
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
      headers: { ...headersOf(credentials), 'content-type': 'application/json' },
      ...(method === 'GET' ? {} : { body: JSON.stringify(input) }),
    });
    const body: unknown = await answer.json().catch(() => undefined);
    if (!answer.ok) throw new MlflowFault(answer.status, body);
    return body;
  };
  const isPassing = (error: unknown): boolean =>
    error instanceof MlflowFault ? PASSING.has(error.status) : !(error instanceof QflError);
  return async (method, path, schema, input) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const parsed = schema.safeParse(await once(method, path, input));
        if (parsed.success) return parsed.data;
        throw new QflError('protocol', { detail: `what MLflow answered to ${path} is not understood` });
      } catch (error) {
        if (!isPassing(error) || attempt === ATTEMPTS) {
          if (error instanceof MlflowFault && (error.reason === EXISTS || error.reason === ABSENT))
            throw error;
          throw errorOf(path, error, url);
        }
        await pause(FIRST_PAUSE_MS * 2 ** (attempt - 1));
      }
    }
  };
};

/** `undefined` instead of one of MLflow's own refusals. */
const unless = async <T>(reason: string, path: string, url: string, work: Promise<T>) =>
  work.catch((error: unknown) => {
    if (error instanceof MlflowFault && error.reason === reason) return undefined;
    throw errorOf(path, error, url);
  });

const Nothing = z.unknown();
const Experiment = z.looseObject({
  experiment: z.looseObject({ experiment_id: z.string(), lifecycle_stage: z.string().default('active') }),
});
const RunInfo = z.looseObject({ run_id: z.string(), status: z.string() });
const Runs = z.looseObject({ runs: z.array(z.looseObject({ info: RunInfo })).default([]) });
const Versions = z.looseObject({
  model_versions: z
    .array(z.looseObject({ version: z.union([z.string(), z.number()]).transform(String) }))
    .default([]),
});

export const createMlflowClient = (options: MlflowOptions): MlflowClient => {
  const { url } = options;
  const call = callerOf(options);
  /** For calls in which each of MLflow's refusals is one. */
  const ask: Call = async (method, path, schema, input) => {
    try {
      return await call(method, path, schema, input);
    } catch (error) {
      throw errorOf(path, error, url);
    }
  };
  return {
    async experiment(name) {
      const path = 'experiments/get-by-name';
      const found = await unless(ABSENT, path, url, call('GET', path, Experiment, { experiment_name: name }));
      if (found === undefined) return undefined;
      const { experiment_id: id, lifecycle_stage: stage } = found.experiment;
      if (stage !== 'active')
        throw new QflError('conflict', {
          detail: `the experiment ${name} was deleted in MLflow, and its name is still taken`,
          next: 'Restore it there, or export under another name with --experiment.',
        });
      return id;
    },
    async createExperiment(name) {
      const schema = z.looseObject({ experiment_id: z.string() });
      return (await ask('POST', 'experiments/create', schema, { name })).experiment_id;
    },
    async runs(experiment, { key, value }) {
      const { runs } = await ask('POST', 'runs/search', Runs, {
        experiment_ids: [experiment],
        filter: `tags.\`${key}\` = ${quoted(value)}`,
        run_view_type: 'ACTIVE_ONLY',
        max_results: 100,
      });
      return runs.map(({ info }) => ({ id: info.run_id, status: info.status }));
    },
    async createRun(experiment, { name, startMs, tags }) {
      const schema = z.looseObject({ run: z.looseObject({ info: RunInfo }) });
      const made = await ask('POST', 'runs/create', schema, {
        experiment_id: experiment,
        run_name: name,
        start_time: startMs,
        tags,
      });
      return made.run.info.run_id;
    },
    async deleteRun(run) {
      await ask('POST', 'runs/delete', Nothing, { run_id: run });
    },
    async log(run, batch) {
      await ask('POST', 'runs/log-batch', Nothing, { run_id: run, ...batch });
    },
    async finishRun(run, endMs) {
      await ask('POST', 'runs/update', Nothing, { run_id: run, status: 'FINISHED', end_time: endMs });
    },
    async createModel(name, description) {
      const path = 'registered-models/create';
      const made = await unless(
        EXISTS,
        path,
        url,
        call('POST', path, z.looseObject({}), { name, description }),
      );
      return made !== undefined;
    },
    async versions(name, run) {
      const found = await ask('GET', 'model-versions/search', Versions, {
        filter: `name = ${quoted(name)} and run_id = ${quoted(run)}`,
        max_results: 100,
      });
      return found.model_versions.map(({ version }) => version);
    },
    async createVersion({ name, source, run, tags, description }) {
      const schema = z.looseObject({
        model_version: z.looseObject({ version: z.union([z.string(), z.number()]).transform(String) }),
      });
      const made = await ask('POST', 'model-versions/create', schema, {
        name,
        source,
        run_id: run,
        tags,
        description,
      });
      return made.model_version.version;
    },
  };
};
