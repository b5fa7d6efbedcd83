/** What both programs put around their own audit log: where it lies, persons' detail, retention. */
import { type RestoredState, restoredPrefix } from '../backup/restored.ts';
import type { Clock } from '../clock.ts';
import type { RandomBytes } from '../random.ts';
import type { Store } from '../store/port.ts';
import type { AuditLog } from './audit-log.ts';
import { createPersonalDetails, type PersonalDetails } from './personal.ts';
import { createRetention, type Retention, type RetentionRules } from './retention.ts';

export const AUDIT_PREFIX = 'log/audit/';

/**
 * Opens persons' detail; what was logged as erased is erased, also when the program ended in the middle of it. Detail beside the logs of before a
 * restore is erased with the rest.
 * @param restored of the home: one that follows no log of its own has no earlier ones
 */
export const openPersonalDetails = async (
  store: Store,
  blindingKey: Uint8Array,
  random: RandomBytes,
  { epoch, before: followed }: Pick<RestoredState, 'epoch' | 'before'>,
): Promise<PersonalDetails> => {
  const of = (one: number): PersonalDetails =>
    createPersonalDetails({ store, prefix: restoredPrefix(AUDIT_PREFIX, one), blindingKey, random });
  const before = followed === null ? [] : Array.from({ length: epoch }, (_, one) => of(one));
  const personal = of(epoch);
  for (const one of [...before, personal]) await one.resume();
  return {
    ...personal,
    async erase(subject) {
      for (const one of [...before, personal]) await one.erase(subject);
    },
  };
};

export const retentionOf = (
  home: {
    readonly store: Store;
    readonly audit: AuditLog;
    readonly personal: PersonalDetails;
    readonly restored: RestoredState;
  },
  clock: Clock,
  random: RandomBytes,
  rules: RetentionRules,
): Retention =>
  createRetention({
    store: home.store,
    prefix: restoredPrefix(AUDIT_PREFIX, home.restored.epoch),
    audit: home.audit,
    personal: home.personal,
    clock,
    random,
    rules,
  });
