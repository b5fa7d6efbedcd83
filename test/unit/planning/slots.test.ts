/** Slots learned in both directions: down at a refusal, up only to the stated most and only while more slots bring more answers. */
import { describe, expect, it } from 'vitest';
import { createSlots, RUN_ANSWERS, type Slots } from '../../../agent/llm/slots.ts';

/** Runs of answers with all slots in use, by a back end of which `parallel` requests do not disturb each other. */
const serve = (slots: Slots, parallel: number, runs: number): number[] =>
  Array.from({ length: runs }, () => {
    for (let at = 0; at < RUN_ANSWERS; at += 1)
      slots.answered(true, 100 * Math.max(1, slots.limit / parallel));
    return slots.limit;
  });

describe('learned slots', () => {
  it('grow to what the back end really runs at once, try one more now and then, and stay within the most', () => {
    const slots = createSlots(2, 16);
    const limits = serve(slots, 6, 60);
    expect(Math.max(...limits)).toBe(7);
    expect(limits.slice(10).filter((limit) => limit === 6).length).toBeGreaterThan(40);
    const free = createSlots(2, 5);
    expect(Math.max(...serve(free, 100, 40))).toBe(5);
  });

  it('do not grow where no most is stated, where one more brings nothing, or where they are not all in use', () => {
    expect(Math.max(...serve(createSlots(4), 100, 30))).toBe(4);
    const serial = createSlots(1, 8);
    expect(serve(serial, 1, 40).filter((limit) => limit === 1).length).toBeGreaterThan(30);
    const idle = createSlots(2, 8);
    for (let at = 0; at < 1_000; at += 1) idle.answered(false, 100);
    expect(idle.limit).toBe(2);
  });

  it('fall at once at a refusal, below what was learned and what is configured, and come back one by one', () => {
    const slots = createSlots(4, 8);
    serve(slots, 100, 10);
    expect(slots.limit).toBe(8);
    slots.refused(8);
    expect(slots.limit).toBe(6);
    slots.refused(6);
    slots.refused(4);
    expect(slots.limit).toBe(3);
    expect(serve(slots, 100, 1)).toEqual([4]);
    slots.refused(1);
    expect(slots.limit).toBe(1);
  });
});
