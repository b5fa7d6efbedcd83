/** A model version as a training would make one, and who signs it. */
import { createIdentity } from '../../../shared/crypto/signature.ts';
import { SiteId, TaskId } from '../../../shared/ids.ts';
import { writeFlat } from '../../../shared/tensor/safetensors.ts';
import { learningDataHash } from '../../../shared/models/record.ts';
import { LearningData } from '../../../shared/wire/learning.ts';
import { ModelName } from '../../../shared/wire/model.ts';
import type { NewVersion } from '../../../coordinator/models/registry.ts';

export const COORDINATOR = createIdentity(Buffer.alloc(32, 7));
export const STRANGER = createIdentity(Buffer.alloc(32, 8));
export const DIABETES = ModelName.parse('diabetes');
export const PARTS = [
  { name: 'weight', shape: [2], offset: 0 },
  { name: 'bias', shape: [1], offset: 2 },
];
export const DATA = LearningData.parse({
  target: '44054006',
  features: [{ kind: 'age' }, { kind: 'observation', code: '2339-0', low: 0.5, high: 400 }],
});

export const fileOf = (...weights: readonly number[]): Uint8Array =>
  writeFlat(PARTS, Float64Array.from(weights));

export const newVersion = (
  task: number | null,
  weights: readonly number[] = [0.1, 0.2, 0.3],
): NewVersion => ({
  name: DIABETES,
  lineage: {
    training: task === null ? null : TaskId.parse(String(task).padStart(32, '0')),
    rounds: [],
    sites: ['east', 'north', 'west'].map((site) => SiteId.parse(site)),
    model: { kind: 'logistic' },
    data: DATA,
    dataHash: learningDataHash(DATA),
    scaling: { mean: [0.5, 120], sd: [0.2, 30] },
    privacy: { unit: 'patient', epsilon: 0.3, delta: 1e-6 },
  },
  metrics: [{ step: 1, values: { loss: Math.LN2, accuracy: 0.7 } }],
  file: fileOf(...weights),
});
