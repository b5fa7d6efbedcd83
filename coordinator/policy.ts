/** The federation's policy: what the coordinator relays at all. Sites keep their own, stricter ones. */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../shared/bytes.ts';
import { QflError } from '../shared/errors.ts';
import { createSerial } from '../shared/serial.ts';
import type { Store } from '../shared/store/port.ts';
import type { Envelope } from '../shared/wire/envelope.ts';

const KEY = 'policy';

export const FederationPolicy = z.strictObject({
  chatEnabled: z.boolean(),
  statisticsEnabled: z.boolean(),
  /** Largest charge per query that is relayed, in millionths of epsilon. */
  microEpsilonMax: z.int().min(1).max(10_000_000),
});
export type FederationPolicy = z.infer<typeof FederationPolicy>;
const Stored = z.strictObject({ version: z.int().positive(), policy: FederationPolicy });

const INITIAL = {
  version: 1,
  policy: { chatEnabled: true, statisticsEnabled: true, microEpsilonMax: 1_000_000 },
};

export interface PolicyBook {
  readonly current: z.infer<typeof Stored>;
  /**
   * @param check of the policy in force at the moment it is replaced, which may be another than a moment before
   * @throws QflError `conflict` when `version` is not the one in force, and what `check` throws
   */
  replace(
    policy: FederationPolicy,
    version: number,
    check?: (inForce: FederationPolicy) => void,
  ): Promise<z.infer<typeof Stored>>;
  /** @throws QflError `forbidden` */
  check(asked: Pick<Envelope, 'kind' | 'microEpsilon'>): void;
}

export const openPolicyBook = async (store: Store): Promise<PolicyBook> => {
  const value = await store.get(KEY);
  let current = value === undefined ? INITIAL : Stored.parse(JSON.parse(fromUtf8(value)));
  /** One after another: of two replacements of one version the second is refused, not written over the first. */
  const inTurn = createSerial();
  return {
    get current() {
      return current;
    },
    replace: (policy, version, check) =>
      inTurn(async () => {
        if (version !== current.version)
          throw new QflError('conflict', {
            detail: `the policy in force is version ${current.version}`,
            next: 'Read it again and repeat the change.',
          });
        check?.(current.policy);
        const next = { version: version + 1, policy };
        await store.write([{ type: 'put', key: KEY, value: utf8(JSON.stringify(next)) }]);
        current = next;
        return next;
      }),
    check({ kind, microEpsilon }) {
      const { chatEnabled, statisticsEnabled, microEpsilonMax } = current.policy;
      if (kind === 'chat' ? !chatEnabled : !statisticsEnabled)
        throw new QflError('forbidden', {
          detail: `the federation's policy does not relay ${kind} queries now`,
        });
      if (microEpsilon > microEpsilonMax)
        throw new QflError('forbidden', {
          detail: `the federation's policy relays at most epsilon ${microEpsilonMax / 1e6} per query`,
        });
    },
  };
};
