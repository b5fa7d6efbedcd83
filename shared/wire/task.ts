/** Tasks on the coordinator's HTTP face: what is asked for, what is shown, what a watcher hears, what a saved state holds. */
import { z } from 'zod';
import { type ErrorCode, isErrorCode } from '../errors.ts';
import { TaskId } from '../ids.ts';
import { TrainingRequest } from './training.ts';

export const TaskKind = z.enum(['chat', 'stats', 'ask', 'train', 'quantum', 'export']);
export type TaskKind = z.infer<typeof TaskKind>;

/** `waiting` for dependencies, `queued` for a free place (or the end of a back-off), `running`; the rest are ends. */
export const TaskState = z.enum(['waiting', 'queued', 'running', 'done', 'failed', 'cancelled', 'expired']);
export type TaskState = z.infer<typeof TaskState>;

export const PRIORITY_MAX = 9;
export const PRIORITY_DEFAULT = 4;
export const ATTEMPTS_MAX = 10;
/** One request is one write, and a write of more records would hold the event loop. */
export const TASKS_PER_REQUEST_MAX = 100;
export const DEPENDENCIES_MAX = 64;
/** A task's own parameters as JSON. */
export const SPEC_CHARS_MAX = 512 * 1024;
export const SHOTS_MAX = 100_000;
export const LIST_LIMIT_MAX = 200;

const Share = z.number().min(0).max(1);
const shots = (least: number, usual: number) => z.int().min(least).max(SHOTS_MAX).default(usual);
/** Left out, one is drawn and told with the result. */
const Seed = z.int().min(0).max(0xffff_ffff).optional();
const Precision = z.enum(['float64', 'float32']).default('float64');
const Readout = z.strictObject({ zeroAsOne: Share, oneAsZero: Share });

/** Qubit 0 is the rightmost bit of every outcome. */
export const CircuitJob = z.strictObject({
  type: z.literal('circuit'),
  /** OpenQASM 3, one register, gates of `stdgates.inc`. */
  qasm: z.string().min(1).max(SPEC_CHARS_MAX),
  shots: shots(1, 1_024),
  seed: Seed,
  precision: Precision,
  /** After each gate on each of its qubits; simulated exactly, at most 12 qubits. */
  noise: z.strictObject({ depolarising: Share.optional(), amplitudeDamping: Share.optional() }).optional(),
  readout: Readout.optional(),
});

/** A quadratic function of bits to be made small: Σ linear·x + Σ weight·x·y + offset. */
export const QuboProblem = z.strictObject({
  bits: z.int().min(1).max(26),
  linear: z.array(z.number()).max(26),
  quadratic: z.array(z.tuple([z.int().min(0), z.int().min(0), z.number()])).max(325),
  offset: z.number().default(0),
});

export const QaoaJob = z.strictObject({
  type: z.literal('qaoa'),
  qubo: QuboProblem,
  layers: z.int().min(1).max(8).default(1),
  shots: shots(1, 1_024),
  seed: Seed,
  precision: Precision,
  evaluationsMax: z.int().min(1).max(2_000).default(200),
});

/** The inequality of Clauser, Horne, Shimony and Holt on this simulator, which passes it by construction unless readout errors are added. */
export const ChshJob = z.strictObject({
  type: z.literal('chsh'),
  shotsPerSetting: shots(4_096, 4_096),
  seed: Seed,
  readout: Readout.optional(),
});

export const QuantumJob = z.discriminatedUnion('type', [CircuitJob, QaoaJob, ChshJob]);
export type QuantumJob = z.infer<typeof QuantumJob>;

export const QuantumSpec = z.strictObject({ kind: z.literal('quantum'), job: QuantumJob });
export const ExportSpec = z.strictObject({
  kind: z.literal('export'),
  /** Why, kept in the file. */
  ground: z.string().min(1).max(500).default('audit'),
});
/** Sealed rounds, one after another: `POST /v1/rounds` makes it. */
export const TrainSpec = z.strictObject({ kind: z.literal('train'), training: TrainingRequest });
export const OtherSpec = z.strictObject({
  kind: z.enum(['chat', 'stats', 'ask']),
  parameters: z.record(z.string(), z.json()).default({}),
});
export const TaskSpec = z.discriminatedUnion('kind', [QuantumSpec, ExportSpec, TrainSpec, OtherSpec]);
export type TaskSpec = z.infer<typeof TaskSpec>;

/** What a task takes. `slots` count against `max_parallel_tasks`; the rest are hints for planning. */
export const TaskResources = z.strictObject({
  slots: z.int().min(1).max(64).default(1),
  tokens: z.int().min(0).nullable().default(null),
  /** Privacy the task will cost, in millionths of epsilon; the sites' ledgers decide. */
  microEpsilon: z.int().min(0).nullable().default(null),
});
export type TaskResources = z.infer<typeof TaskResources>;

const Ref = z.string().regex(/^[a-z][a-z0-9_-]{0,30}$/, 'a ref is 1–31 characters of a–z, 0–9, "_" and "-"');

export const TaskRequest = z.strictObject({
  /** A name inside this request, for `dependsOn` of its other tasks. */
  ref: Ref.optional(),
  spec: TaskSpec,
  /** 9 is the most urgent; waiting tasks age upwards. */
  priority: z.int().min(0).max(PRIORITY_MAX).default(PRIORITY_DEFAULT),
  /** Milliseconds since 1970; a task that has not ended by then expires. */
  deadlineMs: z.int().positive().optional(),
  /** For each attempt; the configured default when left out. */
  timeoutMs: z.int().min(1).max(86_400_000).optional(),
  attemptsMax: z.int().min(1).max(ATTEMPTS_MAX).default(3),
  /** Ids of tasks, or refs of this request; all have to be done first. */
  dependsOn: z
    .array(z.union([TaskId, Ref]))
    .max(DEPENDENCIES_MAX)
    .default([]),
  resources: TaskResources.prefault({}),
});
export type TaskRequest = z.infer<typeof TaskRequest>;

export const TasksRequest = z.strictObject({
  tasks: z.array(TaskRequest).min(1).max(TASKS_PER_REQUEST_MAX),
});
export type TasksRequest = z.infer<typeof TasksRequest>;

const Code = z.custom<ErrorCode>(isErrorCode, 'not an error code');

/** Why a task did not end well. */
export const TaskFailure = z.strictObject({
  reason: z.enum([
    'attempt_failed',
    'timeout',
    'deadline',
    'dependency_failed',
    'outcome_unknown',
    'cancelled',
  ]),
  code: Code,
  detail: z.string(),
  next: z.string().nullable(),
  /** Of `dependency_failed`: which. */
  dependency: TaskId.nullable(),
});
export type TaskFailure = z.infer<typeof TaskFailure>;

export const TaskProgress = z.strictObject({
  done: z.number().nonnegative(),
  /** Null when it is not known before the end. */
  total: z.number().positive().nullable(),
  unit: z.string().max(40),
  /** What was measured there, by name: of a training the figures of its last step. */
  figures: z.record(z.string().max(40), z.number()).optional(),
});
export type TaskProgress = z.infer<typeof TaskProgress>;

export const TaskResult = z.strictObject({
  form: z.enum(['json', 'file']),
  contentType: z.string(),
  bytes: z.int().nonnegative(),
  /** The answer was kept from an earlier task with the same work. */
  cached: z.boolean(),
});
export type TaskResult = z.infer<typeof TaskResult>;

const Time = z.int().nonnegative();

export const TaskShown = z.strictObject({
  id: TaskId,
  kind: TaskKind,
  state: TaskState,
  /** Grows by one with each change of state. */
  version: z.int().positive(),
  priority: z.int(),
  dependsOn: z.array(TaskId),
  resources: TaskResources,
  createdMs: Time,
  queuedMs: Time.nullable(),
  /** Not before this time: the back-off after a failed attempt. */
  notBeforeMs: Time.nullable(),
  startedMs: Time.nullable(),
  endedMs: Time.nullable(),
  deadlineMs: Time.nullable(),
  timeoutMs: Time,
  /** Started so often. */
  attempts: z.int().nonnegative(),
  attemptsMax: z.int().positive(),
  /** What happens to it when the coordinator dies while it runs: run again, or ended with an unknown outcome. */
  delivery: z.enum(['at_least_once', 'at_most_once']),
  /** The site that serves it; null for what the coordinator runs itself. */
  site: z.string().nullable(),
  /** The query of a relayed task, as in the audit log. */
  reference: z.string().nullable(),
  createdBy: z.string(),
  failure: TaskFailure.nullable(),
  progress: TaskProgress.nullable(),
  result: TaskResult.nullable(),
});
export type TaskShown = z.infer<typeof TaskShown>;

export const TasksMade = z.strictObject({
  /** In the order of the request. */
  tasks: z.array(TaskShown),
  /** True when the idempotency key had made them before. */
  repeated: z.boolean(),
});

export const TaskListQuery = z.strictObject({
  state: TaskState.optional(),
  kind: TaskKind.optional(),
  site: z.string().max(64).optional(),
  /** Created at or after. */
  sinceMs: z.coerce.number().int().min(0).optional(),
  /** The `next` of the page before. */
  after: TaskId.optional(),
  limit: z.coerce.number().int().min(1).max(LIST_LIMIT_MAX).default(50),
});
export type TaskListQuery = z.infer<typeof TaskListQuery>;

/** Newest first. */
export const TaskPage = z.strictObject({ tasks: z.array(TaskShown), next: TaskId.nullable() });

/** One thing a watcher hears: the task after a change of state, or how far it is. */
export const TaskNews = z.strictObject({ what: z.enum(['state', 'progress']), task: TaskShown });
export type TaskNews = z.infer<typeof TaskNews>;

/** A page of the saved state. `tasks` are the coordinator's own records; the tag covers every field before it. */
export const TaskStatePage = z.strictObject({
  v: z.literal(1),
  federation: z.string(),
  createdMs: Time,
  page: z.int().nonnegative(),
  /** Tag of the page before; empty on the first. */
  previousTag: z.string().regex(/^([0-9a-f]{64})?$/),
  last: z.boolean(),
  /** Where the next page begins. */
  next: TaskId.nullable(),
  /** Each as its JSON text, so that the tag is over bytes and not over a reading of them. */
  tasks: z.array(z.string().max(2 * 1024 * 1024)).max(100),
  /** Keyed BLAKE2b-256 in hex. */
  tag: z.string().regex(/^[0-9a-f]{64}$/),
});
export type TaskStatePage = z.infer<typeof TaskStatePage>;

export const TaskImportAnswer = z.strictObject({
  added: z.int(),
  unchanged: z.int(),
  /** Here in a newer state than in the file; the newer one stays. */
  kept: z.array(z.strictObject({ id: TaskId, here: z.int(), given: z.int() })),
  /** Were under way in the file and must not run twice; they came in as ended with an unknown outcome. */
  unknown: z.int(),
  applied: z.boolean(),
});
export type TaskImportAnswer = z.infer<typeof TaskImportAnswer>;
