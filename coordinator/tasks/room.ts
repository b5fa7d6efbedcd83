/** Shares a quantity (memory) and a number of places among jobs, in the order in which they ask. */
import { createDeferred, type Deferred } from '../../shared/deferred.ts';
import { abortedBy, assert } from '../../shared/errors.ts';

export interface Room {
  /** Waits until there is room; the answer gives it back. @throws the signal's reason */
  take(amount: number, signal: AbortSignal): Promise<() => void>;
  readonly amountMax: number;
}

interface Waiting {
  readonly amount: number;
  readonly entered: Deferred<void>;
}

export const createRoom = (amountMax: number, placesMax: number): Room => {
  const waiting: Waiting[] = [];
  const taken = { amount: 0, places: 0 };

  const admit = (): void => {
    for (let [next] = waiting; next !== undefined; [next] = waiting) {
      if (taken.places >= placesMax || taken.amount + next.amount > amountMax) return;
      waiting.shift();
      taken.places += 1;
      taken.amount += next.amount;
      next.entered.resolve();
    }
  };
  const giveBack = (amount: number) => {
    let given = false;
    return (): void => {
      if (given) return;
      given = true;
      taken.places -= 1;
      taken.amount -= amount;
      admit();
    };
  };
  return {
    amountMax,
    async take(amount, signal) {
      assert(amount <= amountMax, 'what never fits was refused before');
      if (signal.aborted) throw abortedBy(signal);
      const one: Waiting = { amount, entered: createDeferred() };
      waiting.push(one);
      const onAbort = (): void => {
        const at = waiting.indexOf(one);
        if (at < 0) return;
        waiting.splice(at, 1);
        one.entered.reject(abortedBy(signal));
        admit();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      admit();
      try {
        await one.entered.promise;
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
      return giveBack(amount);
    },
  };
};
