/** What both programs put around their own audit log: where it lies, persons' detail, retention. */
import { type RestoredState, restoredPrefix } from '../backup/restored.ts';
import type { Clock } from '../clock.ts';
import type { Vault } from '../keys/vault.ts';
import type { RandomBytes } from '../random.ts';
import type { Store } from '../store/port.ts';
import type { AuditLog } from './audit-log.ts';
import { earlierLog } from './earlier-log.ts';
import { baseOrigin, restoredOrigin } from './origin.ts';
import { createPersonalDetails, type PersonalDetails } from './personal.ts';
import { createRetention, type Retention, type RetentionRules } from './retention.ts';

export const AUDIT_PREFIX = 'log/audit/';
/** The secret that blinds persons; the same over restores. */
const SUBJECTS = 'audit subjects';

/** How often it was restored before, where those logs are here: a home that follows no log of its own has no earlier ones. */
const earlierEpochs = ({ epoch, before }: Pick<RestoredState, 'epoch' | 'before'>): readonly number[] =>
  before === null ? [] : Array.from({ length: epoch }, (_, one) => one);

const detailsOf = (
  store: Store,
  blindingKey: Uint8Array,
  random: RandomBytes,
  epoch: number,
): PersonalDetails =>
  createPersonalDetails({ store, prefix: restoredPrefix(AUDIT_PREFIX, epoch), blindingKey, random });

/**
 * Opens persons' detail; what was logged as erased is erased, also when the program ended in the middle of it. Detail beside the logs of before a
 * restore is erased with the rest.
 */
export const openPersonalDetails = async (
  store: Store,
  vault: Pick<Vault, 'secretFor'>,
  random: RandomBytes,
  restored: Pick<RestoredState, 'epoch' | 'before'>,
): Promise<PersonalDetails> => {
  const key = vault.secretFor(SUBJECTS);
  const earlier = earlierEpochs(restored).map((one) => detailsOf(store, key, random, one));
  const personal = detailsOf(store, key, random, restored.epoch);
  const all = [...earlier, personal];
  for (const one of all) await one.resume();
  return {
    ...personal,
    async erase(subject) {
      for (const one of all) await one.erase(subject);
    },
  };
};

export const retentionOf = (
  home: {
    readonly store: Store;
    readonly vault: Pick<Vault, 'secretFor'>;
    readonly audit: AuditLog;
    readonly personal: PersonalDetails;
    readonly restored: RestoredState;
  },
  clock: Clock,
  random: RandomBytes,
  rules: RetentionRules,
): Retention => {
  const { store, vault, audit, personal, restored } = home;
  const [key, origin] = [vault.secretFor(SUBJECTS), baseOrigin(audit.log.origin)];
  return createRetention({
    store,
    prefix: restoredPrefix(AUDIT_PREFIX, restored.epoch),
    audit,
    personal,
    earlier: earlierEpochs(restored).map((one) =>
      earlierLog(
        store,
        restoredOrigin(origin, one),
        restoredPrefix(AUDIT_PREFIX, one),
        detailsOf(store, key, random, one),
      ),
    ),
    clock,
    random,
    rules,
  });
};
