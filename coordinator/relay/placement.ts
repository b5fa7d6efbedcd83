/** What the relay asks of the planning layer: a site for one query, and to be told how it went. */
import type { SiteId } from '../../shared/ids.ts';
import type { PlanSummary } from '../../shared/wire/session.ts';

export interface PlacementRequest {
  readonly model: string;
  /** Sites the query is sealed for that did not refuse it. */
  readonly candidates: readonly SiteId[];
  readonly priority: number;
  readonly sizeBucketBytes: number;
  /** What each site would charge, in millionths of epsilon. */
  readonly microEpsilon?: number;
  readonly queryId?: string;
  readonly sender?: SiteId;
  /** Wall clock; the query is worth nothing after it. */
  readonly expiresMs?: number;
  /** Blind tokens: requests that gain from one site, and requests that should not meet. */
  readonly affinity?: string | undefined;
  readonly apart?: string | undefined;
  /** Sites that refused or were lost, and how. */
  readonly exclusions?: PlanSummary['refusals'];
  /** The asker went away: the request leaves the plan. */
  readonly signal?: AbortSignal;
}

export interface Placement {
  readonly site: SiteId;
  readonly plan: Omit<PlanSummary, 'refusals'>;
  /**
   * Frees the slot, once. `firstTokenMs` is null when none came; `isWhole` tells whether the answer came to its end, which is what a service time is
   * learned from.
   */
  done(firstTokenMs: number | null, isWhole?: boolean): void;
}

export interface Planner {
  /** Undefined when no candidate can take it now, or the asker went away. @throws QflError `overloaded` when too many wait */
  place(request: PlacementRequest): Promise<Placement | undefined>;
}
