/**
 * When each site last raised an alarm, this one too. An alarm counts once and only if it is newer than all that its site said before: whoever
 * carries them could otherwise show an old "it is over" after the next alarm, or an old alarm after its end.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { type Clock, HOUR_MS } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import type { Alarm } from '../../shared/wire/alarm.ts';

const HEARD = 'alarm-heard/';
const RAISED = 'alarm-raised';
/** Clocks of hospitals may be wrong; but an alarm from further ahead would outlast all that is said after it. */
const AHEAD_MAX_MS = HOUR_MS;
const Time = z.int().nonnegative();

export interface AlarmTimes {
  /** The time for an alarm of this site: after that of its last one, also when the clock went back. */
  next(): { readonly atMs: number; readonly kept: StoreOperation };
  /** What keeps in mind that this alarm was heard. @throws QflError `expired` when it is not newer than the last one, or from the future */
  heard(alarm: Alarm): Promise<StoreOperation>;
}

const timeAt = async (store: Pick<Store, 'get'>, key: string): Promise<number> => {
  const value = await store.get(key);
  return value === undefined ? 0 : Time.parse(JSON.parse(fromUtf8(value)));
};
const keeping = (key: string, atMs: number): StoreOperation => ({
  type: 'put',
  key,
  value: utf8(JSON.stringify(atMs)),
});

export const openAlarmTimes = async (store: Store, clock: Clock): Promise<AlarmTimes> => {
  let raisedMs = await timeAt(store, RAISED);
  const keyOf = (site: SiteId): string => HEARD + site;
  return {
    next() {
      raisedMs = Math.max(Math.trunc(clock.nowMs()), raisedMs + 1);
      return { atMs: raisedMs, kept: keeping(RAISED, raisedMs) };
    },
    async heard({ site, atMs }) {
      if (atMs > clock.nowMs() + AHEAD_MAX_MS)
        throw new QflError('expired', { detail: `an alarm of ${site} is dated in the future` });
      if (atMs <= (await timeAt(store, keyOf(site))))
        throw new QflError('expired', { detail: `an alarm of ${site} is not newer than its last one` });
      return keeping(keyOf(site), atMs);
    },
  };
};
