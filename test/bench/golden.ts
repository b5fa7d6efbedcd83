/**
 * `node dist/test/bench/golden.js FILE…`: checks the accountant against reference files (schema: README beside them). Prints one line
 * per kind and exits with 1 unless every case passed. What this program does not compute is shown as such and counts against it.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { checkers, Unsupported } from './golden-kinds.ts';

const GoldenCase = z.object({
  id: z.string(),
  kind: z.string(),
  input: z.unknown(),
  expected: z.unknown(),
  tolerance: z.record(z.string(), z.unknown()),
});
export type GoldenCase = z.infer<typeof GoldenCase>;

const NamesOrders = z.looseObject({ orders: z.string() });

/** Cases name lists of orders that stand once in the file; here they get the list itself. */
export const GoldenFile = z
  .object({ order_grids: z.record(z.string(), z.array(z.number())).default({}), cases: z.array(GoldenCase) })
  .transform(({ order_grids: grids, cases }) => ({
    cases: cases.map((one) => {
      const named = NamesOrders.safeParse(one.input);
      const orders = named.success ? grids[named.data.orders] : undefined;
      return orders === undefined ? one : { ...one, input: { ...named.data, orders } };
    }),
  }));

export interface KindResult {
  readonly kind: string;
  readonly built: boolean;
  cases: number;
  passed: number;
  unsupported: number;
  worstError: number;
  readonly failures: string[];
}

const runCase = (result: KindResult, one: GoldenCase): void => {
  result.cases += 1;
  const check = checkers[one.kind];
  if (check === undefined) return;
  try {
    const error = check(one);
    result.worstError = Math.max(result.worstError, error);
    if (error <= 1) result.passed += 1;
    else result.failures.push(`${one.id}: ${error.toPrecision(3)} times the tolerance`);
  } catch (error) {
    if (error instanceof Unsupported) result.unsupported += 1;
    else result.failures.push(`${one.id}: ${error instanceof Error ? error.message : String(error)}`);
  }
};

/** Errors are in multiples of the case's own tolerance; at most 1 passes. */
export const checkGolden = (cases: readonly GoldenCase[]): KindResult[] => {
  const results = new Map<string, KindResult>();
  for (const one of cases) {
    const result = results.get(one.kind) ?? {
      kind: one.kind,
      built: checkers[one.kind] !== undefined,
      cases: 0,
      passed: 0,
      unsupported: 0,
      worstError: 0,
      failures: [],
    };
    results.set(one.kind, result);
    runCase(result, one);
  }
  return [...results.values()].toSorted((left, right) => left.kind.localeCompare(right.kind));
};

const line = (result: KindResult): string => {
  const { kind, built, cases, passed, unsupported, failures, worstError } = result;
  if (!built) return `${kind.padEnd(38)} ${String(cases).padStart(5)}  not built`;
  const figures = [cases, passed, failures.length].map((figure) => String(figure).padStart(6)).join(' ');
  return `${kind.padEnd(37)} ${figures}  ${worstError.toExponential(1).padStart(11)} ${String(unsupported).padStart(18)}`;
};

const main = (files: readonly string[]): number => {
  const cases = files.flatMap((file) => GoldenFile.parse(JSON.parse(readFileSync(file, 'utf8'))).cases);
  const results = checkGolden(cases);
  console.log(`${'kind'.padEnd(37)}  cases passed failed  worst error  not supported yet`);
  for (const result of results) console.log(line(result));
  for (const { failures } of results) for (const failure of failures) console.log(`FAILED ${failure}`);
  const failed = results.reduce((sum, { failures }) => sum + failures.length, 0);
  const unknown = results.reduce(
    (sum, { built, cases: all, unsupported }) => sum + (built ? unsupported : all),
    0,
  );
  console.log(`${cases.length} cases, ${failed} failed, ${unknown} not computed`);
  console.log('worst error is in multiples of the tolerance of the case; above 1 fails');
  return failed === 0 && unknown === 0 && cases.length > 0 ? 0 : 1;
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = main(process.argv.slice(2));
}
