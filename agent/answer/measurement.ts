/**
 * The seam between a question about records and the one door its answer leaves by (`contribute.ts`). A planner turns a question into
 * releases from public facts alone; the data is read in `evaluate` only, after the charge is durable and the noise is drawn.
 */
import type { Mechanism } from '../../shared/privacy/mechanism.ts';
import type { KeyedCounts } from '../../shared/privacy/release.ts';
import type { Block } from '../budget/blocks.ts';
import type { StatsKind, StatsQueryOf } from '../../shared/wire/stats.ts';
import type { LedgerLimits } from '../budget/ledger.ts';

/** One vector of integers that leaves under one mechanism: one draw of noise per cell, one charge for the vector. */
export interface PlannedRelease {
  /** Names of the cells, public and in order; known before any data is read. A selection has one, unknown keys have none yet. */
  readonly cells: readonly string[];
  readonly mechanism: Mechanism;
  /** Of unknown keys (a thresholded histogram): how many are told at most. */
  readonly keysMax?: number;
}

/** One integer per cell, in order (of a selection: one utility per candidate); of unknown keys a count for each that occurs. */
export type ExactVector = readonly bigint[] | KeyedCounts;

export interface PlannedMeasurement {
  readonly releases: readonly PlannedRelease[];
  /** The data blocks that `evaluate` reads and no others: what is charged. Undefined where the site keeps none. */
  readonly blocks?: readonly Block[] | undefined;
  /** One vector per release. Reads data; called at most once, after the charge. */
  evaluate(signal?: AbortSignal): Promise<readonly ExactVector[]>;
}

/** What a plan may depend on besides the question. */
export interface PublicFacts {
  readonly limits: LedgerLimits;
  /** The data blocks of the question; undefined where the site keeps none. */
  readonly blocks?: readonly Block[] | undefined;
}

/** @throws QflError for a question that cannot be asked, before anything is charged */
export type Planner<Kind extends StatsKind> = (
  query: StatsQueryOf<Kind>,
  facts: PublicFacts,
) => PlannedMeasurement | Promise<PlannedMeasurement>;

/** One planner per kind of question. */
export type Planners = { readonly [Kind in StatsKind]: Planner<Kind> };
