/**
 * Sites as queues with slots, event by event: what would have happened under this policy. Used to measure what waiting with a decision is worth, and
 * by `npm run bench -- replay`. Service times are given per request and site; a policy sees only what a coordinator sees.
 */
import type { SiteId } from '../../shared/ids.ts';

export interface SimulatedSite {
  readonly siteId: SiteId;
  readonly slots: number;
}

export interface SimulatedRequest {
  readonly atMs: number;
  readonly sizeBucketBytes: number;
  readonly priority: number;
  readonly deadlineMs: number;
  /** Time a slot is taken, per site; Infinity where it may not go. */
  readonly serviceMs: ArrayLike<number>;
  readonly affinity?: string | undefined;
}

/** What the policy may know of a site: what went there and came back. */
export interface SiteView {
  readonly slots: number;
  /** Running and waiting there. */
  readonly busy: number;
}

export interface Dispatch {
  readonly request: number;
  readonly site: number;
}

export interface Policy {
  arrive(request: number, nowMs: number): void;
  /** Called after every event. */
  decide(nowMs: number, sites: readonly SiteView[]): readonly Dispatch[];
  ended?(request: number, site: number, serviceMs: number, nowMs: number): void;
  /** When to be asked again though nothing happens. */
  wakeMs?(): number;
}

/** Who is next at a site with a queue: in order of arrival there, or by priority with ageing as the agents do it. */
export type QueueRule = 'fifo' | 'priority';

export interface Outcome {
  readonly site: number;
  readonly completionMs: number;
}

export interface SimulationResult {
  /** Per request: null when it was never served. */
  readonly outcomes: readonly (Outcome | null)[];
  /** Mean over time of the variance over sites of busy slots / slots. */
  readonly loadVariance: number;
  /** Mean over time and slots of slots taken. */
  readonly utilisation: number;
  readonly endMs: number;
}

/** One step of priority per this long waited: as in the agents' admission queues. */
const AGEING_MS = 10_000;

interface Running {
  readonly endMs: number;
  readonly request: number;
  readonly site: number;
  readonly serviceMs: number;
}

/** Binary heap by `endMs`. */
const createHeap = () => {
  const items: Running[] = [];
  const swap = (a: number, b: number): void => {
    [items[a], items[b]] = [items[b]!, items[a]!];
  };
  return {
    peek: (): Running | undefined => items[0],
    push(item: Running): void {
      items.push(item);
      for (let at = items.length - 1; at > 0;) {
        const up = (at - 1) >> 1;
        if (items[up]!.endMs <= items[at]!.endMs) break;
        swap(at, up);
        at = up;
      }
    },
    pop(): Running {
      const top = items[0]!;
      const last = items.pop()!;
      if (items.length > 0) {
        items[0] = last;
        for (let at = 0; ;) {
          const left = 2 * at + 1;
          if (left >= items.length) break;
          const right = left + 1;
          const child = right < items.length && items[right]!.endMs < items[left]!.endMs ? right : left;
          if (items[at]!.endMs <= items[child]!.endMs) break;
          swap(at, child);
          at = child;
        }
      }
      return top;
    },
  };
};

interface SiteState {
  readonly slots: number;
  running: number;
  readonly queue: { readonly request: number; readonly sinceMs: number }[];
}

/** Integrates load over time between events. */
const createLoadMeter = (states: readonly SiteState[]) => {
  const slots = states.reduce((sum, state) => sum + state.slots, 0);
  let [lastMs, totalMs, variance, taken] = [Number.NaN, 0, 0, 0];
  return {
    until(nowMs: number): void {
      const spanMs = Number.isNaN(lastMs) ? 0 : nowMs - lastMs;
      lastMs = nowMs;
      if (spanMs <= 0) return;
      let [sum, squares, busy] = [0, 0, 0];
      for (const { running, slots: own } of states) {
        const load = running / own;
        sum += load;
        squares += load * load;
        busy += running;
      }
      const mean = sum / states.length;
      variance += spanMs * (squares / states.length - mean * mean);
      taken += (spanMs * busy) / slots;
      totalMs += spanMs;
    },
    result: () => ({
      loadVariance: totalMs === 0 ? 0 : variance / totalMs,
      utilisation: totalMs === 0 ? 0 : taken / totalMs,
    }),
  };
};

/** Takes the next request out of a site's queue. */
const nextOf = (
  { queue }: SiteState,
  rule: QueueRule,
  requests: readonly SimulatedRequest[],
  nowMs: number,
): number => {
  let best = 0;
  if (rule === 'priority') {
    const rank = (at: number): number =>
      requests[queue[at]!.request]!.priority + (nowMs - queue[at]!.sinceMs) / AGEING_MS;
    for (let at = 1; at < queue.length; at += 1) if (rank(at) > rank(best)) best = at;
  }
  return queue.splice(best, 1)[0]!.request;
};

/** Events between two yields, so that a caller can share its thread. */
const EVENTS_PER_STEP = 50;

/** Runs the whole trace (sorted by time) to its last end; yields between steps. */
export function* simulating(
  sites: readonly SimulatedSite[],
  requests: readonly SimulatedRequest[],
  policy: Policy,
  rule: QueueRule,
): Generator<void, SimulationResult> {
  const states: SiteState[] = sites.map(({ slots }) => ({ slots, running: 0, queue: [] }));
  const outcomes: (Outcome | null)[] = requests.map(() => null);
  const heap = createHeap();
  const meter = createLoadMeter(states);
  let [next, nowMs, events] = [0, 0, 0];
  const start = (request: number, site: number): void => {
    states[site]!.running += 1;
    const serviceMs = requests[request]!.serviceMs[site]!;
    heap.push({ endMs: nowMs + serviceMs, request, site, serviceMs });
  };
  const dispatch = ({ request, site }: Dispatch): void => {
    const state = states[site]!;
    if (state.running < state.slots) start(request, site);
    else state.queue.push({ request, sinceMs: nowMs });
  };
  for (;;) {
    const arrivalMs = requests[next]?.atMs ?? Infinity;
    const endMs = heap.peek()?.endMs ?? Infinity;
    const wakeMs = policy.wakeMs?.() ?? Infinity;
    const eventMs = Math.min(arrivalMs, endMs, Math.max(nowMs, wakeMs));
    if (eventMs === Infinity) break;
    meter.until(eventMs);
    nowMs = eventMs;
    while (heap.peek() !== undefined && heap.peek()!.endMs <= nowMs) {
      const { request, site, serviceMs } = heap.pop();
      const state = states[site]!;
      state.running -= 1;
      outcomes[request] = { site, completionMs: nowMs - requests[request]!.atMs };
      policy.ended?.(request, site, serviceMs, nowMs);
      if (state.queue.length > 0) start(nextOf(state, rule, requests, nowMs), site);
    }
    while (next < requests.length && requests[next]!.atMs <= nowMs) {
      policy.arrive(next, nowMs);
      next += 1;
    }
    policy
      .decide(
        nowMs,
        states.map(({ slots, running, queue }) => ({ slots, busy: running + queue.length })),
      )
      .forEach(dispatch);
    events += 1;
    if (events % EVENTS_PER_STEP === 0) yield;
  }
  return { outcomes, ...meter.result(), endMs: nowMs };
}

/** Runs a generator to its end at once. */
export const finish = <T>(steps: Generator<void, T>): T => {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
};
