/**
 * What the planner knows of itself, measured where it happens: how open decisions are, how coherent the telemetry behind them is, how coupled tasks are
 * placed, what planning together saves. `shared/design/planning.md` §5 defines every figure; amplitudes are of a classical ensemble.
 */
import type { SiteId } from '../../shared/ids.ts';
import type { BatchPlan } from './batch.ts';
import { createDecayMeter, coherenceOf, coherenceUtilization, fidelityOf } from './coherence.ts';
import type { Trigger } from './decoherence.ts';
import type { DeskRequest } from './desk.ts';
import { effectiveSites } from './ensemble.ts';
import {
  changesAssignment,
  type InterferenceReport,
  interferenceGain,
  type InterferenceTotals,
  interferenceTotals,
  optimizationEfficiency,
} from './interference.ts';
import type { Look } from './look.ts';
import { isOpen } from './superposition.ts';

/** Plans over which savings are summed. */
const PLANS_COUNTED = 1_000;
const REPLANS_COUNTED = 200;
/** Kinds of request whose last distribution is kept to see how fast it ages. */
const SHAPES_KEPT = 256;

export interface Sight {
  readonly look: Look;
  /** In the order of the look's tasks. */
  readonly requests: readonly DeskRequest[];
  /** Those that are waiting; the others are there because they were just placed. */
  readonly waiting: ReadonlySet<string>;
  readonly commitMsOf: (taskId: string) => number | undefined;
  readonly ageMsOf: (site: SiteId) => number | undefined;
  readonly nowMs: number;
}

export interface ObservatoryReport {
  readonly tasksActive: number;
  readonly meanEffectiveSites: number | null;
  /** Plans drawn at the last look; null before the first. */
  readonly plansDrawn: number | null;
  readonly coherence: number | null;
  readonly leastCoherence: number | null;
  readonly t2Ms: number | null;
  readonly fidelityObservations: number;
  readonly entanglement: number | null;
  readonly groups: number;
  readonly pairsEntangled: number;
  readonly gain: number | null;
  readonly efficiency: number | null;
  readonly totals: InterferenceTotals;
  readonly plansCounted: number;
  readonly solvers: Readonly<Record<string, number>>;
  readonly churn: number;
  readonly held: number;
  readonly triggers: Readonly<Record<Trigger, number>>;
  readonly replansMs: readonly number[];
}

export interface Observatory {
  /** Nothing is open. */
  nothing(): void;
  saw(sights: readonly Sight[]): void;
  planned(plan: Pick<BatchPlan, 'cost' | 'bound' | 'independentCost' | 'solver'>): void;
  triggered(trigger: Trigger): void;
  /** Time from a trigger to the new plan. */
  replanned(tookMs: number): void;
  report(): ObservatoryReport;
}

const keepLast = <T>(values: T[], value: T, kept: number): void => {
  values.push(value);
  if (values.length > kept) values.shift();
};

const shapeOf = ({ model, sizeBucketBytes, allowedSites }: DeskRequest): string =>
  `${model} ${sizeBucketBytes ?? 0} ${allowedSites.toSorted().join()}`;

/** T2 without any observation yet: telemetry of one interval keeps most of its worth. */
const T2_START_MS = 10_000;

const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;

/** Mean strength of each declared group, then over groups; avoidance counts for tasks that should avoid each other. */
const entanglementOf = (
  sights: readonly Sight[],
): { average: number | null; groups: number; entangled: number } => {
  const strengths: number[] = [];
  let entangled = 0;
  for (const { look } of sights)
    for (const component of look.components) {
      const pairs = look.pairs.filter(({ first }) => component.tasks.includes(first));
      const values = pairs.flatMap(({ strength, weight, measure }) =>
        strength === null ? [] : [measure === 'kappa' && weight > 0 ? -strength : strength],
      );
      entangled += pairs.filter((pair) => pair.entangled).length;
      const value = mean(values);
      if (value !== null) strengths.push(value);
    }
  return { average: mean(strengths), groups: strengths.length, entangled };
};

/** @param resolution asked at every look: `interference_resolution` */
export const createObservatory = (resolution: () => number): Observatory => {
  const decay = createDecayMeter();
  const shapes = new Map<string, { readonly p: Map<SiteId, number>; readonly atMs: number }>();
  const standing = new Map<string, SiteId | null>();
  const interference: InterferenceReport[] = [];
  const solvers: Record<string, number> = {};
  const replansMs: number[] = [];
  const triggers: Record<Trigger, number> = { coherence: 0, outcome: 0, site_lost: 0 };
  let [tasksActive, churn, held] = [0, 0, 0];
  let plansDrawn: number | null = null;
  let effective: number | null = null;
  let coherences: readonly (number | null)[] = [];
  let entanglement: ReturnType<typeof entanglementOf> = { average: null, groups: 0, entangled: 0 };

  /** Compares with what was said of such a request last time. */
  const noteFidelity = ({ look, requests, nowMs }: Sight): void => {
    const seen = new Set<string>();
    requests.forEach((request, at) => {
      const shape = shapeOf(request);
      if (seen.has(shape)) return;
      seen.add(shape);
      const fresh = new Map(look.siteIds.map((site, index) => [site, look.marginals[at]![index]!]));
      const stale = shapes.get(shape);
      if (stale !== undefined) {
        const sites = [...new Set([...fresh.keys(), ...stale.p.keys()])];
        const row = (p: Map<SiteId, number>) => sites.map((site) => p.get(site) ?? 0);
        decay.observe(nowMs - stale.atMs, fidelityOf(row(fresh), row(stale.p)));
      }
      shapes.delete(shape);
      shapes.set(shape, { p: fresh, atMs: nowMs });
      const [oldest] = shapes.keys();
      if (shapes.size > SHAPES_KEPT && oldest !== undefined) shapes.delete(oldest);
    });
  };
  /** Hysteresis: what stands is left where another place gains too little. */
  const noteChurn = ({ look, requests, waiting }: Sight): void => {
    look.components.forEach((component, at) => {
      const best = component.tasks.map((task) => look.best[task]!);
      const stood = component.tasks.map((task) => {
        const site = standing.get(requests[task]!.taskId);
        return site === undefined
          ? undefined
          : site === null
            ? look.siteIds.length
            : look.siteIds.indexOf(site);
      });
      const known = component.assignments.findIndex((one) =>
        one.every((site, index) => site === stood[index]),
      );
      const isSame = best.every((site, index) => site === stood[index]);
      const planned = component.assignments.findIndex((one) =>
        one.every((site, index) => site === best[index]),
      );
      const gain = known === -1 ? Infinity : component.energies[known]! - component.energies[planned]!;
      const isNew = stood.every((site) => site === undefined);
      const changes = isNew || changesAssignment(gain, look.taus[at]!, resolution());
      if (!isSame && !isNew && changes) churn += 1;
      if (!isSame && !changes) held += 1;
      if (!changes) return;
      component.tasks.forEach((task, index) => {
        const { taskId } = requests[task]!;
        if (waiting.has(taskId)) standing.set(taskId, look.siteIds[best[index]!] ?? null);
      });
    });
  };
  const openTasks = ({ look, requests, waiting, commitMsOf, ageMsOf, nowMs }: Sight) => {
    const t2Ms = decay.t2Ms() ?? T2_START_MS;
    const ages = [...look.siteIds.map((site) => ageMsOf(site) ?? Infinity), 0];
    return requests.flatMap(({ taskId }, at) => {
      const p = look.marginals[at]!;
      const isActive = waiting.has(taskId) && isOpen(nowMs, commitMsOf(taskId) ?? -Infinity, p);
      return isActive ? [{ coherence: coherenceOf(p, ages, t2Ms), effective: effectiveSites(p) }] : [];
    });
  };

  const nothing = (): void => {
    tasksActive = 0;
    effective = null;
    coherences = [];
    standing.clear();
  };
  return {
    nothing,
    saw(sights) {
      const waiting = new Set(sights.flatMap((sight) => [...sight.waiting]));
      for (const taskId of standing.keys()) if (!waiting.has(taskId)) standing.delete(taskId);
      sights.forEach(noteFidelity);
      sights.forEach(noteChurn);
      for (const { look } of sights) plansDrawn = look.plans;
      const open = sights.flatMap(openTasks);
      tasksActive = open.length;
      coherences = open.map(({ coherence }) => coherence);
      effective = mean(open.map((task) => task.effective));
      const seen = entanglementOf(sights);
      if (seen.groups > 0) entanglement = seen;
    },
    planned({ cost, bound, independentCost, solver }) {
      keepLast(interference, { planCost: cost.total, bound, independentCost }, PLANS_COUNTED);
      solvers[solver] = (solvers[solver] ?? 0) + 1;
    },
    triggered: (trigger) => void (triggers[trigger] += 1),
    replanned: (tookMs) => keepLast(replansMs, tookMs, REPLANS_COUNTED),
    report() {
      const totals = interferenceTotals(interference);
      const known = coherences.filter((value) => value !== null);
      return {
        tasksActive,
        meanEffectiveSites: effective,
        plansDrawn,
        coherence: coherenceUtilization(coherences),
        leastCoherence: known.length === 0 ? null : Math.min(...known),
        t2Ms: decay.t2Ms(),
        fidelityObservations: decay.observations,
        entanglement: entanglement.average,
        groups: entanglement.groups,
        pairsEntangled: entanglement.entangled,
        gain: interferenceGain(totals),
        efficiency: optimizationEfficiency(totals),
        totals,
        plansCounted: interference.length,
        solvers: { ...solvers },
        churn,
        held,
        triggers: { ...triggers },
        replansMs,
      };
    },
  };
};
