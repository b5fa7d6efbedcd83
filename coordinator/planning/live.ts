import type { Clock } from '../../shared/clock.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { CoordinatorMeters } from '../metrics.ts';
import type { Planner } from '../relay/placement.ts';
import type { Presence } from '../sites/presence.ts';

export const createLivePlanner = ({
  presence,
  clock,
  meters,
}: {
  presence: Presence;
  clock: Clock;
  meters: CoordinatorMeters;
}): Planner => ({
  place({ model, candidates }) {
    const started = clock.monotonicMs();
    const cost = (site: SiteId): number | undefined => {
      const telemetry = presence.telemetry(site)?.models.find(({ id }) => id === model);
      return telemetry === undefined
        ? undefined
        : (telemetry.firstTokenMs ?? 50) + 100 * (telemetry.inFlight + telemetry.waiting);
    };
    const open = candidates
      .flatMap((site) => {
        const c = cost(site);
        return c === undefined ? [] : [{ site, c }];
      })
      .toSorted((a, b) => a.c - b.c);
    const [best] = open;
    if (best === undefined) return Promise.resolve(undefined);
    const micros = (clock.monotonicMs() - started) * 1000;
    meters.planned(micros / 1e6);
    return Promise.resolve({
      site: best.site,
      plan: {
        site: best.site,
        solver: 'interim',
        costMs: Math.round(best.c),
        boundMs: Math.round(best.c),
        candidates: candidates.length,
        planMicros: Math.round(micros),
      },
      done: () => undefined,
    });
  },
});
