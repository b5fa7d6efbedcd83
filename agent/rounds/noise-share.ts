/** A site's share of the noise, drawn before any record is read: how long drawing takes then says nothing about them. */
import { breathe } from '../../shared/breathe.ts';
import { discreteGaussian, noiseOf } from '../../shared/privacy/mechanism.ts';
import { rational } from '../../shared/privacy/rational.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { sigmaOf } from '../../shared/rounds/noise.ts';

const DRAWS_PER_TURN = 256;

/** `words` draws of the discrete Gaussian with this variance (an integer in decimal), modulo 2^32, to `into` from `from` on. */
export const drawShare = async (
  sigmaSquared: string,
  random: RandomBytes,
  into: Int32Array,
  from = 0,
  words = into.length - from,
): Promise<void> => {
  const draw = noiseOf(discreteGaussian(rational(1n), sigmaOf(sigmaSquared)), random);
  for (let word = 0; word < words; word += 1) {
    into[from + word] = Number(BigInt.asIntN(32, draw()));
    if (word % DRAWS_PER_TURN === 0) await breathe();
  }
};
