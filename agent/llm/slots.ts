/**
 * How many requests a back end gets at once, learned from how it takes them. Down at once, by a quarter, when it says that it is full; up by one after a run
 * of answers with all slots in use (additive increase, multiplicative decrease: Chiu and Jain 1989). Beyond the configured number only up to
 * a stated most, and only while one more slot brings more answers in the time: a back end that serves in turn says nothing, it gets slower.
 */
const KEPT_AFTER_REFUSAL = 0.75;
/** Answers with all slots in use that make a run. */
export const RUN_ANSWERS = 20;
/** Of what one more slot would bring if slots did not share anything: what it has to bring to stay. */
const GAIN_SHARE_MIN = 0.5;
/** Runs after a slot that brought too little before another is tried. */
const REST_RUNS = 10;

export interface Slots {
  readonly limit: number;
  /** @param wasFull all slots were in use when it ended */
  answered(wasFull: boolean, serviceMs: number): void;
  refused(inFlight: number): void;
}

export const createSlots = (configured: number, most = configured): Slots => {
  let limit = configured;
  let [answers, serviceSumMs, rest] = [0, 0, 0];
  /** Answers per millisecond with one slot less, while a slot is on trial. */
  let before: number | undefined;
  const limitNow = (): number => Math.max(1, Math.floor(limit));
  const newRun = (): void => void ([answers, serviceSumMs] = [0, 0]);

  /** A whole run beyond the configured number, or at it. */
  const judge = (rate: number): void => {
    const now = limitNow();
    if (before !== undefined && rate < before * (1 + GAIN_SHARE_MIN / (now - 1))) {
      [limit, before, rest] = [now - 1, undefined, REST_RUNS];
      return;
    }
    before = undefined;
    if (rest > 0) rest -= 1;
    else if (now < most) [limit, before] = [now + 1, rate];
  };
  return {
    get limit() {
      return limitNow();
    },
    answered(wasFull, serviceMs) {
      if (!wasFull) return;
      answers += 1;
      serviceSumMs += serviceMs;
      if (answers < RUN_ANSWERS) return;
      const rate = limitNow() / Math.max(1, serviceSumMs / answers);
      newRun();
      if (limit < configured) limit = Math.min(configured, limitNow() + 1);
      else judge(rate);
    },
    refused(inFlight) {
      newRun();
      [before, rest] = [undefined, REST_RUNS];
      limit = Math.max(1, Math.min(limit, inFlight) * KEPT_AFTER_REFUSAL);
    },
  };
};
