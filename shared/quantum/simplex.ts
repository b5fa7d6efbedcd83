/** The downhill simplex of Nelder and Mead (1965) with the standard coefficients: few dimensions, no derivatives. */

export interface SimplexLimits {
  readonly evaluationsMax: number;
  /** Ends when the values of the simplex lie within this share of the best one. */
  readonly tolerance?: number;
}

interface Vertex {
  readonly point: readonly number[];
  readonly value: number;
}

const along = (from: readonly number[], to: readonly number[], share: number): number[] =>
  from.map((value, at) => value + share * ((to[at] ?? 0) - value));

/** The lowest point found; at least one evaluation, at most about `evaluationsMax` plus one simplex. */
export const minimiseSimplex = (
  f: (point: readonly number[]) => number,
  start: readonly number[],
  steps: readonly number[],
  { evaluationsMax, tolerance = 1e-9 }: SimplexLimits,
): Vertex => {
  let evaluations = 0;
  const vertexAt = (point: readonly number[]): Vertex => {
    evaluations += 1;
    return { point, value: f(point) };
  };
  let simplex = [
    start,
    ...start.map((_, axis) => start.map((value, at) => value + (at === axis ? (steps[axis] ?? 0) : 0))),
  ].map(vertexAt);
  const byValue = (left: Vertex, right: Vertex): number => left.value - right.value;
  for (;;) {
    simplex = simplex.toSorted(byValue);
    const [best, worst] = [simplex[0]!, simplex.at(-1)!];
    if (evaluations >= evaluationsMax || worst.value - best.value <= tolerance * (1 + Math.abs(best.value)))
      return best;
    const others = simplex.slice(0, -1);
    const centre = start.map(
      (_, at) => others.reduce((sum, { point }) => sum + point[at]!, 0) / others.length,
    );
    const reflected = vertexAt(along(worst.point, centre, 2));
    const nextWorst = others.at(-1)!;
    if (reflected.value < best.value) {
      const expanded = vertexAt(along(worst.point, centre, 3));
      simplex = [...others, expanded.value < reflected.value ? expanded : reflected];
    } else if (reflected.value < nextWorst.value) simplex = [...others, reflected];
    else {
      const outside = reflected.value < worst.value;
      const contracted = vertexAt(along(worst.point, centre, outside ? 1.5 : 0.5));
      simplex =
        contracted.value < Math.min(reflected.value, worst.value)
          ? [...others, contracted]
          : [best, ...simplex.slice(1).map(({ point }) => vertexAt(along(best.point, point, 0.5)))];
    }
  }
};
