/** The planner's state in the words of its HTTP face: figures that were measured, null where nothing was, and what each of them is. */
import type { SiteId } from '../../shared/ids.ts';
import type { CoherenceStatus, OptimizationStatus, QuantumStatus } from '../../shared/wire/plan.ts';
import { percentile } from '../metrics.ts';
import { COHERENCE_THRESHOLD } from './coherence.ts';
import { GROUP_LIMITS } from './couplings.ts';
import type { DeferralMeter } from './deferral.ts';
import { SERVED_MIN } from './deferral.ts';
import { INTERFERENCE_RESOLUTION } from './interference.ts';
import type { LivePlanner } from './live.ts';
import { ENSEMBLE_PLANS } from './look.ts';
import type { KnownPresence } from './sites-now.ts';
import { SUPERPOSITIONS_MAX } from './superposition.ts';

const whyDeferral = ({ isOn, value }: DeferralMeter, isEnabled: boolean): string => {
  if (!isEnabled)
    return 'off by configuration (quantum_planning.enable_superposition): every request is committed as it comes';
  if (value === null)
    return `not measured yet: it needs ${SERVED_MIN} served requests; until then every request is committed as it comes`;
  const saved = `replaying the last ${value.requests} served requests, holding them open saves ${value.savedMs.toFixed(1)} ms each, with 95 % confidence more than ${value.lowMs.toFixed(1)} ms`;
  return isOn
    ? `${saved}: a request is held open while its planned site has no free slot`
    : `${saved}: not surely above zero, so every request is committed as it comes`;
};

export const quantumStatus = (planner: LivePlanner, planSeconds: readonly number[]): QuantumStatus => {
  const report = planner.observatory.report();
  const { value, isOn } = planner.deferral;
  const tuning = planner.tuning();
  const { strategy, inForce, superposition = true, entanglement = true, groups = GROUP_LIMITS } = tuning;
  return {
    what: 'figures of a classical ensemble of plans; amplitudes say how open a decision is and are no physical state',
    superposition: {
      enabled: superposition,
      tasksActive: report.tasksActive,
      waiting: planner.waiting,
      tasksMax: tuning.superpositionsMax ?? SUPERPOSITIONS_MAX,
      ensemblePlans: report.plansDrawn,
      ensemblePlansMax: tuning.ensemblePlansMax ?? ENSEMBLE_PLANS,
      meanEffectiveSites: report.meanEffectiveSites,
      deferral: {
        isOn: superposition && isOn,
        why: whyDeferral(planner.deferral, superposition),
        savedMs: value?.savedMs ?? null,
        lowMs: value?.lowMs ?? null,
        requestsReplayed: value?.requests ?? null,
      },
    },
    entanglement: {
      enabled: entanglement,
      strengthAverage: report.entanglement,
      groups: report.groups,
      groupsMax: groups.groupsMax,
      tasksPerGroupMax: groups.tasksMax,
      pairsEntangled: report.pairsEntangled,
    },
    interference: {
      enabled: true,
      gain: report.gain,
      optimizationEfficiency: report.efficiency,
      churn: report.churn,
      heldByHysteresis: report.held,
      resolution: tuning.interferenceResolution ?? INTERFERENCE_RESOLUTION,
    },
    planner: {
      strategy,
      strategyInForce: inForce,
      planned: planner.planned,
      planningP95Seconds: percentile(planSeconds, 0.95),
      threadsLost: planner.threads.lost,
      standIns: planner.threads.standIns,
    },
  };
};

export const coherenceStatus = (
  planner: LivePlanner,
  presence: KnownPresence,
  sites: readonly SiteId[],
): CoherenceStatus => {
  const report = planner.observatory.report();
  const { mitigation = true, coherenceThreshold = COHERENCE_THRESHOLD } = planner.tuning();
  return {
    what: 'the share of the l1 coherence of open decisions that the age of telemetry leaves; T2 is measured from how fast placements change',
    threshold: coherenceThreshold,
    utilization: report.coherence,
    least: report.leastCoherence,
    openTasks: report.tasksActive,
    t2Ms: report.t2Ms,
    fidelityObservations: report.fidelityObservations,
    telemetryAgesMs: sites.map((site) => ({ site, ageMs: presence.telemetryAgeMs(site) ?? null })),
    mitigation: {
      enabled: mitigation,
      triggers: { ...report.triggers },
      replanP95Ms: percentile(report.replansMs, 0.95),
    },
  };
};

export const optimizationStatus = (planner: LivePlanner): OptimizationStatus => {
  const report = planner.observatory.report();
  const adaptive = planner.strategist.report();
  return {
    what: 'planning together against everyone taking his own best site in order of arrival; efficiency is the share of the provable saving',
    gain: report.gain,
    efficiency: report.efficiency,
    ...report.totals,
    plansCounted: report.plansCounted,
    solvers: { ...report.solvers },
    predictor: planner.predictor.report(),
    adaptive: { ...adaptive, arms: [...adaptive.arms] },
  };
};
