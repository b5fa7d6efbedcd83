/**
 * The error catalogue. An expected failure is a `QflError` with a code of this table; `http/problem.ts` and
 * `http/openai-errors.ts` are its only translators. `detail` is safe to show the caller; what only the operator may see goes
 * to the log as `cause`.
 */
const CATALOGUE = {
  // The caller's side
  invalid_request: { status: 400, title: 'The request is not valid' },
  unauthenticated: { status: 401, title: 'A valid key or sign-in is needed' },
  forbidden: { status: 403, title: 'This key may not do that' },
  not_found: { status: 404, title: 'There is no such thing here' },
  conflict: { status: 409, title: 'The state does not allow that' },
  too_large: { status: 413, title: 'The body is too large' },
  rate_limited: { status: 429, title: 'Too many requests' },
  cancelled: { status: 499, title: 'The caller went away' },
  // Privacy
  budget_exceeded: { status: 403, title: 'The privacy budget does not allow this query' },
  one_patient: { status: 403, title: 'A question about one patient is not answered here' },
  outcome_unknown: {
    status: 409,
    title: 'An earlier run of this query ended without a known outcome; its charge is kept',
  },
  ledger_refuses: { status: 503, title: 'The privacy ledger refuses to serve' },
  ledger_damaged: { status: 503, title: 'The privacy ledger is damaged' },
  clock_refused: { status: 503, title: 'The clock moved in a way the ledger does not accept' },
  // The federation
  site_unavailable: { status: 503, title: 'No site can serve this now' },
  stays_local: { status: 503, title: 'This request may not leave its site and cannot be served there' },
  refused_by_site: { status: 503, title: 'The site refused' },
  not_connected: { status: 503, title: 'Not connected to the coordinator' },
  timeout: { status: 504, title: 'No answer in time' },
  cut: { status: 502, title: 'The answer was cut before its end' },
  backend_failed: { status: 502, title: 'The language model back end failed' },
  trainer_failed: { status: 502, title: "The site's own trainer failed" },
  overloaded: { status: 503, title: 'The queue is full' },
  expired: { status: 410, title: 'That has expired' },
  // Trust
  handshake_refused: { status: 403, title: 'The handshake was refused' },
  unknown_key: { status: 403, title: 'The key is not known' },
  bad_signature: { status: 403, title: 'A signature does not hold' },
  key_changed: { status: 403, title: 'A pinned key changed without its chain' },
  protocol: { status: 400, title: 'The message breaks the protocol' },
  token_refused: { status: 403, title: 'The invitation token is not accepted' },
  revoked: { status: 403, title: 'The site was revoked' },
  directory_stale: { status: 503, title: 'The key directory is not confirmed by enough hospitals' },
  lockdown: { status: 503, title: 'Everything is locked down here' },
  retention: { status: 409, title: 'A legal duty or hold keeps this' },
  // The machine
  storage_failed: { status: 507, title: 'Storage failed' },
  not_ready: { status: 503, title: 'Not ready yet' },
  config_invalid: { status: 500, title: 'The configuration is not valid' },
  internal: { status: 500, title: 'Something went wrong here' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof CATALOGUE;

export const isErrorCode = (code: unknown): code is ErrorCode =>
  typeof code === 'string' && Object.hasOwn(CATALOGUE, code);

export interface ErrorOptionsQfl {
  /** Shown to the caller; no secrets, no content. */
  detail?: string;
  /** What the caller can do next, as one sentence. */
  next?: string;
  /** Machine-readable facts for the caller: numbers, ids, names of ledgers. */
  facts?: Readonly<Record<string, unknown>>;
  /** For the operator's log only. */
  cause?: unknown;
}

export class QflError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly title: string;
  readonly detail: string | undefined;
  readonly next: string | undefined;
  readonly facts: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, options: ErrorOptionsQfl = {}) {
    const { status, title } = CATALOGUE[code];
    super(options.detail === undefined ? title : `${title}: ${options.detail}`, { cause: options.cause });
    this.name = 'QflError';
    this.code = code;
    this.status = status;
    this.title = title;
    this.detail = options.detail;
    this.next = options.next;
    this.facts = options.facts;
  }
}

/** Why a signal was aborted: its own reason where it gives one, else that the caller went away. */
export const abortedBy = (signal: AbortSignal): QflError =>
  signal.reason instanceof QflError ? signal.reason : new QflError('cancelled');

/** A broken invariant: never expected, never handled; the program stops rather than guess. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** Any thrown value as a `QflError`; what is not one becomes `internal` with the original as its cause. */
export const toQflError = (error: unknown): QflError =>
  error instanceof QflError ? error : new QflError('internal', { cause: error });
