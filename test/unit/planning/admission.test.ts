/** The admission queue of a site: who goes next, what is held back, what is learned, what is told. */
import { describe, expect, it } from 'vitest';
import {
  AGEING_MS,
  createAdmission,
  nextWaiter,
  quantiseWaiting,
  type Ticket,
} from '../../../agent/llm/admission.ts';
import { EMERGENCY_PRIORITY } from '../../../shared/wire/envelope.ts';

const clockAt = () => {
  let nowMs = 0;
  return { nowMs: () => nowMs, monotonicMs: () => nowMs, pass: (ms: number) => void (nowMs += ms) };
};
const never = new AbortController().signal;
const settle = () => new Promise((resolve) => setImmediate(resolve));

const queueOf = (slots: number, waitingMax = 20) => {
  const clock = clockAt();
  const admission = createAdmission({ slots }, clock, { waitingMax });
  const order: string[] = [];
  const tickets = new Map<string, Ticket>();
  const ask = (name: string, priority: number, signal = never): Promise<void> =>
    admission.enter(priority, signal).then((ticket) => {
      order.push(name);
      tickets.set(name, ticket);
      return undefined;
    });
  const leave = async (name: string, outcome: 'answered' | 'overloaded' | 'failed' = 'answered') => {
    tickets.get(name)?.leave(outcome);
    await settle();
  };
  return { clock, admission, order, ask, leave };
};

describe('the admission queue', () => {
  it('lets urgent work overtake, first come first served within a priority', async () => {
    const { order, ask, leave } = queueOf(1);
    void ask('running', 3);
    for (const [name, priority] of [
      ['a', 3],
      ['b', 3],
      ['urgent', 7],
    ] as const)
      void ask(name, priority);
    await settle();
    for (const name of ['running', 'urgent', 'a']) await leave(name);
    expect(order).toEqual(['running', 'urgent', 'a', 'b']);
  });

  it('ages: who waits long enough goes before the newly urgent', async () => {
    const { clock, order, ask, leave } = queueOf(1);
    void ask('running', 3);
    void ask('patient', 3);
    clock.pass(5 * AGEING_MS);
    void ask('urgent', 7);
    await settle();
    await leave('running');
    expect(order.at(-1)).toBe('patient');
    expect(nextWaiter([{ priority: 3, sinceMs: 0 }], 0, false)).toBe(-1);
  });

  it('keeps a tenth of the slots and of the queue for emergencies', async () => {
    const { admission, order, ask } = queueOf(10, 10);
    for (let at = 0; at < 10; at += 1) void ask(`o${at}`, 5);
    await settle();
    expect(order).toHaveLength(9);
    expect(admission.reading()).toMatchObject({ slots: 9, emergencySlots: 1, waiting: 1 });
    void ask('emergency', EMERGENCY_PRIORITY);
    await settle();
    expect(order.at(-1)).toBe('emergency');
    for (let at = 0; at < 8; at += 1) void ask(`w${at}`, 5);
    expect(() => admission.enter(5, never)).toThrowError(/full/);
    expect(() => void admission.enter(9, never)).not.toThrow();
    expect(() => admission.enter(9, never)).toThrowError(/full/);
  });

  it('learns from refusals how much the back end can take, and tries again after a run of answers', async () => {
    const { admission, ask, leave } = queueOf(8);
    for (let at = 0; at < 8; at += 1) void ask(`r${at}`, 5);
    await settle();
    await leave('r0', 'overloaded');
    expect(admission.reading().slots).toBe(6);
    for (let at = 1; at < 8; at += 1) await leave(`r${at}`, 'failed');
    for (let round = 0; round < 4; round += 1) {
      for (let at = 0; at < 6; at += 1) void ask(`x${round}${at}`, 5);
      await settle();
      // The first to leave sees every slot in use.
      for (let at = 0; at < 6; at += 1) {
        await leave(`x${round}${at}`);
        void ask(`y${round}${at}`, 5);
        await settle();
      }
      for (let at = 0; at < 6; at += 1) await leave(`y${round}${at}`);
    }
    expect(admission.reading().slots).toBeGreaterThan(6);
    expect(admission.reading().slots).toBeLessThanOrEqual(8);
  });

  it('gives up a place when its asker goes away, and never starts it', async () => {
    const { order, ask, leave } = queueOf(1);
    void ask('running', 5);
    const gone = new AbortController();
    const asked = ask('gone', 9, gone.signal);
    void ask('next', 1);
    gone.abort();
    await expect(asked).rejects.toMatchObject({ code: 'cancelled' });
    await leave('running');
    expect(order).toEqual(['running', 'next']);
  });

  it('drains: takes no more, finishes what it has, and says when it is empty', async () => {
    const { admission, ask, leave } = queueOf(1);
    void ask('running', 5);
    void ask('waiting', 5);
    await settle();
    let isEmpty = false;
    const drained = admission.drain().then(() => void (isEmpty = true));
    expect(() => admission.enter(9, never)).toThrowError(/finishing/);
    await leave('running');
    expect(isEmpty).toBe(false);
    await leave('waiting');
    await drained;
    expect(isEmpty).toBe(true);
  });

  it('tells quantised values with their source, and null for what was not measured', async () => {
    const { clock, admission, ask, leave } = queueOf(16);
    expect(admission.reading()).toMatchObject({ firstTokenMs: null, serviceMs: null, source: 'inferred' });
    const ticket = await admission.enter(5, never);
    clock.pass(1_003);
    ticket.first();
    ticket.leave('answered');
    expect(admission.reading()).toMatchObject({ firstTokenMs: 1_005, serviceMs: 1_005, source: 'measured' });
    clock.pass(61_000);
    expect(admission.reading().source).toBe('inferred');
    for (let at = 0; at < 3; at += 1) void ask(`r${at}`, 5);
    await settle();
    expect(admission.reading().inFlight).toBe(4);
    await leave('r0');
    expect([0, 1, 2, 3, 5, 9].map(quantiseWaiting)).toEqual([0, 1, 2, 4, 8, 16]);
  });
});
