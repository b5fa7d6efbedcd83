/** What the relay asks of the planning layer: a site for one query, and to be told how it went. */
import type { SiteId } from '../../shared/ids.ts';
import type { PlanSummary } from '../../shared/wire/session.ts';

export interface PlacementRequest {
  readonly model: string;
  readonly candidates: readonly SiteId[];
  readonly priority: number;
  readonly sizeBucketBytes: number;
}

export interface Placement {
  readonly site: SiteId;
  readonly plan: Omit<PlanSummary, 'refusals'>;
  /** Frees the slot. `firstTokenMs` is null when none came. */
  done(firstTokenMs: number | null): void;
}

export interface Planner {
  /** Undefined when no candidate can take it now. */
  place(request: PlacementRequest): Promise<Placement | undefined>;
}
