/**
 * All models of this site, with one admission queue per back end (`admission.ts`). The queues are what telemetry reports, because they are known for every
 * kind of back end.
 */
import type { Clock } from '../../shared/clock.ts';
import { abortedBy, QflError, toQflError } from '../../shared/errors.ts';
import type { ChatRequest } from '../../shared/wire/chat.ts';
import type { Telemetry } from '../../shared/wire/session.ts';
import { type Admission, type AdmissionLimits, createAdmission, type Ticket } from './admission.ts';
import type { Backend, ModelInfo } from './port.ts';

export type ModelsLimits = AdmissionLimits;

interface Lane {
  readonly backend: Backend;
  readonly admission: Admission;
}

export interface Models {
  list(): Promise<readonly ModelInfo[]>;
  offers(model: string): Promise<boolean>;
  /** @throws QflError `not_found`, `overloaded`, and those of `Backend.chat` */
  chat(request: ChatRequest, priority: number, signal: AbortSignal): AsyncIterable<string>;
  telemetry(): Promise<Telemetry['models']>;
  /** `measured` while a back end answered lately, `inferred` from counts otherwise. */
  source(): Telemetry['source'];
  readonly isDraining: boolean;
  /** Takes no more requests; resolves when the last one ended. */
  drain(): Promise<void>;
}

const outcomeOf = (thrown: unknown): Parameters<Ticket['leave']>[0] =>
  toQflError(thrown).code === 'overloaded' ? 'overloaded' : 'failed';

/** Characters of a token, and tokens of an answer that nobody limited: estimates, as the planner's. */
const CHARS_PER_TOKEN = 4;
const ANSWER_TOKENS = 512;
const tokensOf = ({ messages, max_completion_tokens, max_tokens, n }: ChatRequest): number =>
  Math.ceil(JSON.stringify(messages).length / CHARS_PER_TOKEN) +
  (max_completion_tokens ?? max_tokens ?? ANSWER_TOKENS) * (n ?? 1);

export const createModels = (backends: readonly Backend[], clock: Clock, limits: ModelsLimits): Models => {
  const lanes: Lane[] = backends.map((backend) => ({
    backend,
    admission: createAdmission(backend, clock, limits),
  }));

  const laneOf = async (model: string): Promise<Lane | undefined> => {
    for (const lane of lanes) if ((await lane.backend.models()).some(({ id }) => id === model)) return lane;
    return undefined;
  };
  async function* chat(request: ChatRequest, priority: number, signal: AbortSignal): AsyncGenerator<string> {
    if (signal.aborted) throw abortedBy(signal);
    const lane = await laneOf(request.model);
    if (lane === undefined)
      throw new QflError('not_found', {
        detail: `this site does not offer ${request.model}`,
        next: '"GET /v1/models" lists what there is.',
      });
    const ticket = await lane.admission.enter(priority, signal, tokensOf(request));
    let isFirst = true;
    // Whoever stops reading in the middle leaves without an outcome to learn from.
    let outcome: Parameters<Ticket['leave']>[0] = 'failed';
    try {
      for await (const piece of lane.backend.chat(request, signal)) {
        if (isFirst) ticket.first();
        isFirst = false;
        yield piece;
      }
      outcome = 'answered';
    } catch (error) {
      outcome = outcomeOf(error);
      throw error;
    } finally {
      ticket.leave(outcome);
    }
  }

  return {
    chat,
    list: async () => (await Promise.all(lanes.map(({ backend }) => backend.models()))).flat(),
    offers: async (model) => (await laneOf(model)) !== undefined,
    telemetry: async () => {
      const reports = await Promise.all(
        lanes.map(async ({ backend, admission }) => {
          const { source: _source, ...reading } = admission.reading();
          const { tokenPriceMicros = null } = backend;
          return (await backend.models()).map(({ id }) => ({ id, ...reading, tokenPriceMicros }));
        }),
      );
      return reports.flat();
    },
    source: () =>
      lanes.some(({ admission }) => admission.reading().source === 'measured') ? 'measured' : 'inferred',
    get isDraining() {
      return lanes.some(({ admission }) => admission.isDraining);
    },
    drain: async () => void (await Promise.all(lanes.map(({ admission }) => admission.drain()))),
  };
};
