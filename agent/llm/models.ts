/**
 * All models of this site, with one admission queue per back end: its slots, a bounded queue ordered by priority (first come,
 * first served within one), and a moving average of the time to the first token. This queue is what telemetry reports,
 * because it is known for every kind of back end.
 */
import type { Clock } from '../../shared/clock.ts';
import { abortedBy, QflError } from '../../shared/errors.ts';
import type { ChatRequest } from '../../shared/wire/chat.ts';
import type { Telemetry } from '../../shared/wire/session.ts';
import type { Backend, ModelInfo } from './port.ts';

export interface ModelsLimits {
  readonly waitingMax: number;
}
/** Weight of the newest measurement. */
const AVERAGE_WEIGHT = 0.2;
/** Times are reported in steps of this, so that they tell little. */
const QUANTUM_MS = 5;

interface Waiter {
  readonly priority: number;
  start(): void;
}

interface Lane {
  readonly backend: Backend;
  inFlight: number;
  readonly waiting: Waiter[];
  firstTokenMs: number | null;
}

export interface Models {
  list(): Promise<readonly ModelInfo[]>;
  offers(model: string): Promise<boolean>;
  /** @throws QflError `not_found`, `overloaded`, and those of `Backend.chat` */
  chat(request: ChatRequest, priority: number, signal: AbortSignal): AsyncIterable<string>;
  telemetry(): Promise<Telemetry['models']>;
}

export const createModels = (backends: readonly Backend[], clock: Clock, limits: ModelsLimits): Models => {
  const lanes: Lane[] = backends.map((backend) => ({
    backend,
    inFlight: 0,
    waiting: [],
    firstTokenMs: null,
  }));

  const laneOf = async (model: string): Promise<Lane | undefined> => {
    for (const lane of lanes) if ((await lane.backend.models()).some(({ id }) => id === model)) return lane;
    return undefined;
  };
  const enter = (lane: Lane, priority: number, signal: AbortSignal): Promise<void> => {
    if (lane.inFlight < lane.backend.slots) {
      lane.inFlight += 1;
      return Promise.resolve();
    }
    if (lane.waiting.length >= limits.waitingMax)
      throw new QflError('overloaded', {
        detail: 'the queue of this site is full',
        next: 'Try again in a moment.',
      });
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        priority,
        start() {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      const onAbort = (): void => {
        lane.waiting.splice(lane.waiting.indexOf(waiter), 1);
        reject(abortedBy(signal));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const place = lane.waiting.findIndex((other) => other.priority < priority);
      lane.waiting.splice(place === -1 ? lane.waiting.length : place, 0, waiter);
    });
  };
  /** The slot passes straight to the first in the queue, so a newcomer cannot slip in between. */
  const leave = (lane: Lane): void => {
    const next = lane.waiting.shift();
    if (next === undefined) lane.inFlight -= 1;
    else next.start();
  };
  const measure = (lane: Lane, startedMs: number): void => {
    const tookMs = clock.monotonicMs() - startedMs;
    lane.firstTokenMs =
      lane.firstTokenMs === null ? tookMs : lane.firstTokenMs + AVERAGE_WEIGHT * (tookMs - lane.firstTokenMs);
  };
  async function* chat(request: ChatRequest, priority: number, signal: AbortSignal): AsyncGenerator<string> {
    if (signal.aborted) throw abortedBy(signal);
    const lane = await laneOf(request.model);
    if (lane === undefined)
      throw new QflError('not_found', {
        detail: `this site does not offer ${request.model}`,
        next: '"GET /v1/models" lists what there is.',
      });
    await enter(lane, priority, signal);
    const startedMs = clock.monotonicMs();
    let first = true;
    try {
      for await (const piece of lane.backend.chat(request, signal)) {
        if (first) measure(lane, startedMs);
        first = false;
        yield piece;
      }
    } finally {
      leave(lane);
    }
  }

  return {
    chat,
    list: async () => (await Promise.all(lanes.map(({ backend }) => backend.models()))).flat(),
    offers: async (model) => (await laneOf(model)) !== undefined,
    telemetry: async () => {
      const reports = await Promise.all(
        lanes.map(async ({ backend, inFlight, waiting, firstTokenMs }) =>
          (await backend.models()).map(({ id }) => ({
            id,
            slots: backend.slots,
            inFlight,
            waiting: waiting.length,
            firstTokenMs: firstTokenMs === null ? null : Math.round(firstTokenMs / QUANTUM_MS) * QUANTUM_MS,
          })),
        ),
      );
      return reports.flat();
    },
  };
};
