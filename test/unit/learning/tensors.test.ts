/** What a model's flat vector holds, and how large it may be. */
import { describe, expect, it } from 'vitest';
import { tensorsOf } from '../../../shared/learning/tensors.ts';
import { LearningData, ModelSpec } from '../../../shared/wire/learning.ts';

const DATA = LearningData.parse({ target: 'ill', features: [{ kind: 'age' }] });
const own = (...shapes: number[][]) =>
  ModelSpec.parse({
    kind: 'external',
    trainer: 'mine',
    tensors: shapes.map((shape, at) => ({ name: `t${at}`, shape })),
  });

describe('the tensors of a model', () => {
  it('of a program of the site’s own are those it names, one after another, and begin at zero', () => {
    const made = tensorsOf(own([8, 3], [3, 8]), DATA);
    expect(made.size).toBe(48);
    expect(made.tensors).toEqual([
      { name: 't0', shape: [8, 3], offset: 0 },
      { name: 't1', shape: [3, 8], offset: 24 },
    ]);
    expect(made.initial(1)).toEqual(new Float64Array(48));
  });

  it.each([[[100_000, 100_000]], [[2 ** 31, 2 ** 31, 2 ** 31, 2 ** 31]]])('of %j are too many', (shape) => {
    expect(() => tensorsOf(own(shape), DATA)).toThrow(/Train adapters|numbers/);
  });

  it('of a model that is built in are its own', () => {
    expect(tensorsOf(ModelSpec.parse({ kind: 'logistic' }), DATA).size).toBe(2);
  });
});
