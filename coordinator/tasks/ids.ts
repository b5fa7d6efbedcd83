/** Ids that sort by the order in which they were made, also within one millisecond and when the clock goes back. */
import { toHex } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { TaskId } from '../../shared/ids.ts';
import type { RandomBytes } from '../../shared/random.ts';

const RANDOM_BITS = 80n;

/** @param after the greatest id there is already: every new one is greater */
export const createTaskIds = (clock: Clock, random: RandomBytes, after?: TaskId) => {
  let last = after === undefined ? 0n : BigInt(`0x${after}`);
  return (): TaskId => {
    const time = BigInt(Math.trunc(clock.nowMs())) << RANDOM_BITS;
    const fresh = time | BigInt(`0x${toHex(random(10))}`);
    last = fresh > last ? fresh : last + 1n;
    return TaskId.parse(last.toString(16).padStart(32, '0'));
  };
};
export type TaskIds = ReturnType<typeof createTaskIds>;
