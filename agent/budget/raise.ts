/** What of a change of budgets is a raise, and what is left of the change without it. Pure: lowering takes nobody's leave, raising takes two people's. */
import { type BudgetLimit, LedgerLimits } from './limits.ts';

export interface Raise {
  /** Path of the limit, such as `departmentDay.icu`. */
  readonly limit: string;
  /** Epsilon in millionths; null where there was nothing: no budget, or no such department. */
  readonly from: number | null;
  readonly to: number;
  readonly deltaFrom: string | null;
  readonly deltaTo: string;
}

type Named = ReadonlyMap<string, BudgetLimit>;

const namedLimits = (limits: LedgerLimits): Named =>
  new Map([
    ['userDay', limits.userDay],
    ['askingSiteDay', limits.askingSiteDay],
    ['siteLifetime', limits.siteLifetime],
    ...(limits.dataBlock === undefined ? [] : [['dataBlock', limits.dataBlock] as const]),
    ...Object.entries(limits.departmentDay).map(([name, limit]) => [`departmentDay.${name}`, limit] as const),
    ...Object.entries(limits.askingSites ?? {}).map(
      ([name, limit]) => [`askingSites.${name}`, limit] as const,
    ),
  ]);

const isHigher = (before: BudgetLimit | undefined, after: BudgetLimit): boolean =>
  before === undefined ||
  after.microEpsilon > before.microEpsilon ||
  Number(after.delta) > Number(before.delta);

/**
 * A site's own cap stands in place of the common one: one that is higher is a raise for that site, and so is dropping one that was lower.
 * Blocks are further limits, never a way around another: their appearance lowers what may be spent.
 */
const beforeOf = (name: string, limits: LedgerLimits, named: Named): BudgetLimit | undefined =>
  named.get(name) ?? (name.startsWith('askingSites.') ? limits.askingSiteDay : undefined);

/** Every limit that would rise. */
export const raisesOf = (before: LedgerLimits, after: LedgerLimits): readonly Raise[] => {
  const [was, will] = [namedLimits(before), namedLimits(after)];
  const raises = [...will].flatMap(([limit, to]): Raise[] => {
    if (limit === 'dataBlock' && !was.has(limit)) return [];
    const from = beforeOf(limit, before, was);
    if (!isHigher(from, to)) return [];
    return [
      {
        limit,
        from: from?.microEpsilon ?? null,
        to: to.microEpsilon,
        deltaFrom: from?.delta ?? null,
        deltaTo: to.delta,
      },
    ];
  });
  const dropped = [...was].flatMap(([limit, from]): Raise[] => {
    if (will.has(limit) || !limit.startsWith('askingSites.')) return [];
    if (!isHigher(from, after.askingSiteDay)) return [];
    const { microEpsilon: to, delta: deltaTo } = after.askingSiteDay;
    return [{ limit, from: from.microEpsilon, to, deltaFrom: from.delta, deltaTo }];
  });
  const perQuery: Raise[] =
    after.microEpsilonPerQueryMax > before.microEpsilonPerQueryMax
      ? [
          {
            limit: 'microEpsilonPerQueryMax',
            from: before.microEpsilonPerQueryMax,
            to: after.microEpsilonPerQueryMax,
            deltaFrom: null,
            deltaTo: '',
          },
        ]
      : [];
  const blocksGone: Raise[] =
    before.dataBlock !== undefined && after.dataBlock === undefined
      ? [
          {
            limit: 'dataBlock',
            from: before.dataBlock.microEpsilon,
            to: Number.MAX_SAFE_INTEGER,
            deltaFrom: before.dataBlock.delta,
            deltaTo: '',
          },
        ]
      : [];
  return [...perQuery, ...raises, ...dropped, ...blocksGone];
};

const lower = (before: BudgetLimit | undefined, after: BudgetLimit): BudgetLimit | undefined =>
  before === undefined ? undefined : isHigher(before, after) ? before : after;

const defined = <T extends object>(
  entries: readonly (readonly [string, T | undefined])[],
): Record<string, T> =>
  Object.fromEntries(entries.filter((entry): entry is readonly [string, T] => entry[1] !== undefined));

/** The change with every raise left out: nothing in it is above what is in force. */
export const withoutRaises = (before: LedgerLimits, after: LedgerLimits): LedgerLimits => {
  if (raisesOf(before, after).length === 0) return after;
  const sites = new Set([...Object.keys(before.askingSites ?? {}), ...Object.keys(after.askingSites ?? {})]);
  const was = namedLimits(before);
  const askingSites = defined(
    [...sites].map((name) => {
      const from = beforeOf(`askingSites.${name}`, before, was);
      return [name, lower(from, after.askingSites?.[name as never] ?? after.askingSiteDay)] as const;
    }),
  );
  const { dataBlock, askingSites: _sites, ...rest } = after;
  const block =
    before.dataBlock === undefined ? dataBlock : lower(before.dataBlock, dataBlock ?? before.dataBlock);
  return LedgerLimits.parse({
    ...rest,
    microEpsilonPerQueryMax: Math.min(before.microEpsilonPerQueryMax, after.microEpsilonPerQueryMax),
    userDay: lower(before.userDay, after.userDay),
    askingSiteDay: lower(before.askingSiteDay, after.askingSiteDay),
    siteLifetime: lower(before.siteLifetime, after.siteLifetime),
    departmentDay: defined(
      Object.entries(after.departmentDay).map(
        ([name, limit]) => [name, lower(was.get(`departmentDay.${name}`), limit)] as const,
      ),
    ),
    ...(sites.size === 0 ? {} : { askingSites }),
    ...(block === undefined ? {} : { dataBlock: block }),
  });
};
