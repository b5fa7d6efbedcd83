/** What a round stands: how many sites may drop out, and how many may be corrupt beside a coordinator that lies (design: sealed-rounds, section 2). */

export interface Tolerance {
  readonly sites: number;
  /** Sites that together open what a site hid, and no fewer. */
  readonly threshold: number;
  /** No sum of fewer sites is opened. */
  readonly minCohort: number;
  readonly dropsTolerated: number;
  readonly corruptTolerated: number;
}

export const thresholdOf = (sites: number): number => Math.ceil((2 * sites) / 3);
/** A sum of two is what one of them did not say. */
const COHORT_MIN = 3;
export const minCohortOf = (sites: number): number => Math.max(COHORT_MIN, thresholdOf(sites));

/** Fewer than 3 sites make no round: their sum tells each the other's. */
export const toleranceOf = (sites: number, minCohort = minCohortOf(sites)): Tolerance => {
  const threshold = thresholdOf(sites);
  return {
    sites,
    threshold,
    minCohort,
    dropsTolerated: Math.max(0, sites - Math.max(threshold, minCohort)),
    // Two sets of `threshold` sites share an honest one while 2t > n + c: only then can no two survivor lists both be opened.
    corruptTolerated: Math.max(0, 2 * threshold - sites - 1),
  };
};

const counted = (count: number, what: string): string =>
  `${count === 0 ? 'no' : count} ${what}${count === 1 ? '' : 's'}`;

/** For people, before they rely on it. */
export const toleranceText = (tolerance: Tolerance): string => {
  const { sites, threshold, minCohort, dropsTolerated, corruptTolerated } = tolerance;
  return [
    `${sites} sites, of which any ${threshold} can open what was hidden; a sum of fewer than ${minCohort} is never opened.`,
    `The round stands ${counted(dropsTolerated, 'site')} dropping out.`,
    `Beside a coordinator that lies it stands ${counted(corruptTolerated, 'corrupt site')}; any sum lets corrupt sites take their own part out of it, which the noise covers.`,
  ].join(' ');
};
