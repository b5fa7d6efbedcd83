/** Budgets in Renyi and concentrated terms from a budget (epsilon, delta). */

/**
 * The largest RDP at order a whose conversion stays within (epsilon, delta): the inverse of Canonne, Kamath, Steinke 2020,
 * Proposition 12. Negative where the order cannot serve this budget.
 */
export const rdpBudgetAt = (epsilon: number, delta: number, a: number): number =>
  epsilon - Math.log1p(-1 / a) + Math.log(delta * a) / (a - 1);

const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * The largest rho whose zCDP conversion, minimised over all real orders, stays within (epsilon, delta): the maximum over a of
 * B(a)/a. Golden-section search on ln(a − 1); every order tried gives a valid lower value, so stopping early is safe.
 */
export const rhoBudget = (epsilon: number, delta: number): number => {
  const at = (logarithm: number): number => {
    const a = 1 + Math.exp(logarithm);
    return rdpBudgetAt(epsilon, delta, a) / a;
  };
  let low = Math.log(1e-6);
  let high = Math.log(1e6);
  while (high - low > 1e-10) {
    const left = high - GOLDEN * (high - low);
    const right = low + GOLDEN * (high - low);
    if (at(left) < at(right)) low = left;
    else high = right;
  }
  return at((low + high) / 2);
};
