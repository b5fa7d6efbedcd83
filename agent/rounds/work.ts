/** What a site computes in a round, by name. Each kind says what it costs; a plan that states another price is refused. */
import { QflError } from '../../shared/errors.ts';
import type { RoundPlan, RoundPrivacy } from '../../shared/rounds/plan.ts';

export interface RoundWorker {
  readonly kind: string;
  /**
   * What this plan costs here, from the plan alone.
   * @throws QflError `invalid_request` for settings that cannot be
   */
  priceOf(plan: RoundPlan): RoundPrivacy;
  /** The site's vector with its share of the noise in it. The records are read here, after the charge is durable, and nowhere else. */
  compute(plan: RoundPlan, model: Uint8Array, signal: AbortSignal): Promise<Int32Array<ArrayBuffer>>;
}

export type RoundWorkers = ReadonlyMap<string, RoundWorker>;

export const workersOf = (...workers: readonly RoundWorker[]): RoundWorkers =>
  new Map(workers.map((worker) => [worker.kind, worker]));

/** @throws QflError `invalid_request` */
export const workerFor = (workers: RoundWorkers, { work }: RoundPlan): RoundWorker => {
  const worker = workers.get(work.kind);
  if (worker !== undefined) return worker;
  throw new QflError('invalid_request', {
    detail: `this site knows no work of kind ${work.kind}`,
    next: 'Update its agent, or leave the site out of the round.',
    facts: { kinds: [...workers.keys()] },
  });
};
