/** `qfl plan …`: where queries went, and why. */
import type { Command } from 'commander';
import { PlanList, PlanRecord } from '../wire/plan.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { ago, printJson, run, say, table } from './output.ts';

const VERDICTS: Readonly<Record<PlanRecord['candidates'][number]['verdict'], string>> = {
  chosen: 'chosen',
  possible: 'possible, dearer',
  not_online_or_stale: 'excluded: not online, or not heard of lately',
  does_not_offer_the_model: 'excluded: does not offer the model now',
  no_place: 'excluded: every place taken',
};
const COMMITS: Readonly<Record<PlanRecord['commit'], string>> = {
  immediate: 'at once',
  slot: 'held open until a slot of its planned site was free',
  late: 'held open, longer than was without risk to its deadline',
};

const shown = (value: number | null, digits = 0): string => (value === null ? '–' : value.toFixed(digits));

const candidateRow = (candidate: PlanRecord['candidates'][number]): string[] => [
  candidate.site,
  VERDICTS[candidate.verdict],
  shown(candidate.predictedMeanMs),
  shown(candidate.predictedQ95Ms),
  shown(candidate.latencyCost),
  shown(candidate.preferenceCost),
  shown(candidate.moneyCost),
  shown(candidate.privacyCost),
  shown(candidate.placePrice),
  candidate.slots === null ? '–' : `${candidate.busySlots ?? '–'}/${candidate.slots}`,
  candidate.tokensMax === null ? '–' : `${candidate.busyTokens ?? '–'}/${candidate.tokensMax}`,
  candidate.telemetryAgeMs === null ? '–' : `${(candidate.telemetryAgeMs / 1_000).toFixed(1)} s`,
];

const millis = (micros: number): string => (micros / 1_000).toFixed(2);
const parts = (costs: PlanRecord['costParts']): string =>
  Object.entries(costs)
    .filter(([, cost]) => cost !== 0)
    .map(([cause, cost]) => `${cause} ${cost}`)
    .join(', ') || 'nothing costs anything';

/** A plan in words and tables. */
export const planText = (plan: PlanRecord): string => {
  const gap = plan.cost - plan.bound;
  const proof = gap <= 0 ? 'proven to be the best there was' : `at most ${gap} above the best there was`;
  const lines = [
    `Query ${plan.queryId} for ${plan.model} (priority ${plan.priority}) went to ${plan.site}, ${COMMITS[plan.commit]}.`,
    '',
    table(
      [
        'candidate',
        'verdict',
        'mean ms',
        'q95 ms',
        'latency',
        'preference',
        'money',
        'privacy',
        'place price',
        'busy',
        'tokens',
        'heard',
      ],
      plan.candidates.map(candidateRow),
    ),
    '',
    `Plan of ${plan.batch} ${plan.batch === 1 ? 'query' : 'queries'}: cost ${plan.cost}, bound ${plan.bound}: ${proof}.`,
    `By cause: ${parts(plan.costParts)}.`,
    `Everyone for himself would have cost ${plan.independentCost}. Costs are weighted milliseconds.`,
    `Solver ${plan.solver}, proof by ${plan.certificate ?? 'nothing'}, seed ${plan.seed}, strategy ${plan.strategy}; planned in ${millis(plan.planMicros)} ms (solver ${millis(plan.solveMicros)} ms, processor ${plan.cpuMicros === null ? '–' : millis(plan.cpuMicros)} ms), waited ${plan.waitedMs} ms.`,
    ...plan.couplings.map(
      ({ queryId, weight }) =>
        `Tied to query ${queryId}: sharing a site ${weight < 0 ? `saves ${-weight}` : `costs ${weight}`}.`,
    ),
    ...plan.exclusions.map(({ site, code }) => `${site} was tried before and refused (${code}).`),
  ];
  return lines.join('\n');
};

export const registerPlan = (program: Command): void => {
  const plan = program.command('plan').description('where queries went, and why, at the coordinator');
  withTarget(plan.command('list').description('the newest plans'), 'coordinator')
    .option('--limit <N>', 'how many, at most 500', '20')
    .action((options: TargetOptions & { limit: string }) =>
      run(async () => {
        const { plans, kept } = await withClient(connect(options, 'coordinator'), (client) =>
          client.json('GET', `/v1/plans?limit=${encodeURIComponent(options.limit)}`, PlanList),
        );
        if (options.json === true) return printJson(plans);
        if (plans.length === 0)
          return say('No plans yet. They appear with the first query that leaves its site.');
        const nowMs = Date.now();
        say(
          table(
            ['query', 'site', 'model', 'commit', 'solver', 'gap', 'waited ms', 'when'],
            plans.map((one) => [
              one.queryId,
              one.site,
              one.model,
              one.commit,
              one.solver,
              String(one.cost - one.bound),
              String(one.waitedMs),
              `${ago(nowMs - one.committedMs)} ago`,
            ]),
          ),
        );
        if (kept > plans.length) say(`(${kept} are kept)`);
      }, options.json ?? false),
    );
  withTarget(
    plan
      .command('explain <QUERY>')
      .description('why this site: candidates, prices, couplings, exclusions, bound'),
    'coordinator',
  ).action((queryId: string, options: TargetOptions) =>
    run(async () => {
      const record = await withClient(connect(options, 'coordinator'), (client) =>
        client.json('GET', `/v1/plans/${encodeURIComponent(queryId)}`, PlanRecord),
      );
      if (options.json === true) return printJson(record);
      say(planText(record));
    }, options.json ?? false),
  );
};
