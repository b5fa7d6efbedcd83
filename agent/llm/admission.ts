/**
 * The admission queue in front of one back end. It holds what the back end cannot run now, because here urgent work can overtake and cancelling is cheap:
 * by priority with ageing, with a reserved share for emergencies, a learned number of slots, and a drain. Decisions are pure functions
 * of the state; the queue only keeps it.
 */
import type { Clock } from '../../shared/clock.ts';
import { abortedBy, QflError } from '../../shared/errors.ts';
import { EMERGENCY_PRIORITY } from '../../shared/wire/envelope.ts';
import { createSlots } from './slots.ts';

/** One step of priority per this long waited, so that nobody starves. */
export const AGEING_MS = 10_000;
/** Of the places to wait, kept for emergencies. */
const EMERGENCY_WAITING_SHARE = 0.1;
/** Of the slots; with fewer than this many slots none is held back, and emergencies overtake in the queue. */
const EMERGENCY_SLOT_SHARE = 0.1;
/** Weight of the newest measurement. */
const AVERAGE_WEIGHT = 0.2;
/** Times are reported in steps of this, so that they tell little. */
const QUANTUM_MS = 5;
/** Loads are told in eighths of the slots. */
const LOAD_STEPS = 8;
const FRESH_MS = 60_000;

export interface AdmissionLimits {
  readonly waitingMax: number;
}

/** What a back end takes at once. */
export interface Capacity {
  readonly slots: number;
  /** Up to which more slots may be tried while it keeps up; without it, none. */
  readonly slotsMax?: number | undefined;
  /** Tokens of prompts and answers together; null or absent where nobody knows. */
  readonly tokensMax?: number | null | undefined;
}

export interface Admission {
  /** Waits for a slot. @throws QflError `overloaded` when the queue is full or drains, and the reason of an aborted signal */
  enter(priority: number, signal: AbortSignal, tokens?: number): Promise<Ticket>;
  /** Takes nobody in any more; resolves when the last one left. */
  drain(): Promise<void>;
  readonly isDraining: boolean;
  reading(): AdmissionReading;
}

export interface Ticket {
  /** The first token came. */
  first(): void;
  /** Gives the slot back, once. */
  leave(outcome: 'answered' | 'overloaded' | 'failed'): void;
}

export interface AdmissionReading {
  /** Slots that ordinary requests may use; learned. */
  readonly slots: number;
  readonly emergencySlots: number;
  /** Quantised upwards. */
  readonly inFlight: number;
  readonly waiting: number;
  /** Moving averages, quantised; null until measured. */
  readonly firstTokenMs: number | null;
  readonly serviceMs: number | null;
  /** null where nobody knows; then none are counted as in use. */
  readonly tokensMax: number | null;
  /** Of requests that run, by their size; quantised upwards. */
  readonly tokensInUse: number;
  /** Measured lately, or inferred from earlier and from counts. */
  readonly source: 'measured' | 'inferred';
}

interface Waiter {
  readonly priority: number;
  readonly sinceMs: number;
  start(): void;
}

export const emergencySlotsOf = (slots: number): number => Math.floor(slots * EMERGENCY_SLOT_SHARE);

/** The next one in: highest priority with ageing, then first come. −1 when nobody may start. */
export const nextWaiter = (
  waiting: readonly Pick<Waiter, 'priority' | 'sinceMs'>[],
  nowMs: number,
  ordinaryMay: boolean,
): number => {
  let [best, most] = [-1, -Infinity];
  waiting.forEach(({ priority, sinceMs }, at) => {
    const rank = priority + (nowMs - sinceMs) / AGEING_MS;
    if ((ordinaryMay || priority >= EMERGENCY_PRIORITY) && rank > most) [best, most] = [at, rank];
  });
  return best;
};

/** Upwards to a power of two: enough to plan with, too little to count patients. */
export const quantiseWaiting = (waiting: number): number =>
  waiting === 0 ? 0 : 2 ** Math.ceil(Math.log2(waiting));

const quantiseLoad = (inFlight: number, slots: number): number => {
  const step = Math.max(1, Math.floor(slots / LOAD_STEPS));
  return Math.min(Math.max(slots, inFlight), Math.ceil(inFlight / step) * step);
};

const quantiseMs = (value: number | null): number | null =>
  value === null ? null : Math.round(value / QUANTUM_MS) * QUANTUM_MS;

const createAverage = () => {
  let value: number | null = null;
  return {
    add(next: number): void {
      value = value === null ? next : value + AVERAGE_WEIGHT * (next - value);
    },
    get value() {
      return value;
    },
  };
};

export const createAdmission = (
  capacity: Capacity,
  clock: Clock,
  { waitingMax }: AdmissionLimits,
): Admission => {
  const slots = createSlots(capacity.slots, capacity.slotsMax);
  const tokensMax = capacity.tokensMax ?? null;
  const waiting: Waiter[] = [];
  const [firstToken, service] = [createAverage(), createAverage()];
  const idle: (() => void)[] = [];
  let [inFlight, tokensInUse, measuredMs, isDraining] = [0, 0, -Infinity, false];

  const ordinaryMay = (): boolean => inFlight < slots.limit - emergencySlotsOf(slots.limit);
  /** Starts whoever may start. A slot passes straight on, so a newcomer cannot slip in between. */
  const startNext = (): void => {
    while (inFlight < slots.limit) {
      const at = nextWaiter(waiting, clock.monotonicMs(), ordinaryMay());
      if (at === -1) break;
      const [next] = waiting.splice(at, 1);
      inFlight += 1;
      next?.start();
    }
    if (inFlight === 0 && waiting.length === 0) for (const resolve of idle.splice(0)) resolve();
  };
  const ticket = (tokens: number): Ticket => {
    tokensInUse += tokens;
    const startedMs = clock.monotonicMs();
    let isHeld = true;
    return {
      first() {
        measuredMs = clock.monotonicMs();
        firstToken.add(measuredMs - startedMs);
      },
      leave(outcome) {
        if (!isHeld) return;
        isHeld = false;
        if (outcome === 'overloaded') slots.refused(inFlight);
        else if (outcome === 'answered') {
          const serviceMs = clock.monotonicMs() - startedMs;
          service.add(serviceMs);
          slots.answered(inFlight >= slots.limit, serviceMs);
        }
        inFlight -= 1;
        tokensInUse -= tokens;
        startNext();
      },
    };
  };
  const refuseIfFull = (priority: number): void => {
    if (isDraining)
      throw new QflError('overloaded', {
        detail: 'this site is finishing its work and takes no more',
        next: 'Ask another site, or this one when it is back.',
      });
    const reserved = priority >= EMERGENCY_PRIORITY ? 0 : Math.floor(waitingMax * EMERGENCY_WAITING_SHARE);
    if (waiting.length >= waitingMax - reserved)
      throw new QflError('overloaded', {
        detail: 'the queue of this site is full',
        next: 'Try again in a moment.',
      });
  };

  return {
    enter(priority, signal, tokens = 0) {
      const mayStart =
        inFlight < slots.limit && (priority >= EMERGENCY_PRIORITY || ordinaryMay()) && !isDraining;
      if (mayStart) {
        inFlight += 1;
        return Promise.resolve(ticket(tokens));
      }
      refuseIfFull(priority);
      return new Promise((resolve, reject) => {
        const waiter: Waiter = {
          priority,
          sinceMs: clock.monotonicMs(),
          start() {
            signal.removeEventListener('abort', onAbort);
            resolve(ticket(tokens));
          },
        };
        const onAbort = (): void => {
          waiting.splice(waiting.indexOf(waiter), 1);
          reject(abortedBy(signal));
          startNext();
        };
        signal.addEventListener('abort', onAbort, { once: true });
        waiting.push(waiter);
      });
    },
    drain() {
      isDraining = true;
      return new Promise((resolve) => {
        idle.push(resolve);
        startNext();
      });
    },
    get isDraining() {
      return isDraining;
    },
    reading() {
      const { limit } = slots;
      const emergencySlots = emergencySlotsOf(limit);
      return {
        slots: limit - emergencySlots,
        emergencySlots,
        inFlight: quantiseLoad(inFlight, limit),
        waiting: quantiseWaiting(waiting.length),
        firstTokenMs: quantiseMs(firstToken.value),
        serviceMs: quantiseMs(service.value),
        tokensMax,
        tokensInUse: tokensMax === null ? 0 : quantiseLoad(tokensInUse, tokensMax),
        source: clock.monotonicMs() - measuredMs <= FRESH_MS ? 'measured' : 'inferred',
      };
    },
  };
};
