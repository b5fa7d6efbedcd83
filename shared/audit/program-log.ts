/** What both programs put around their own audit log: where it lies, persons' detail, retention. */
import type { Clock } from '../clock.ts';
import type { RandomBytes } from '../random.ts';
import type { Store } from '../store/port.ts';
import type { AuditLog } from './audit-log.ts';
import { createPersonalDetails, type PersonalDetails } from './personal.ts';
import { createRetention, type Retention, type RetentionRules } from './retention.ts';

export const AUDIT_PREFIX = 'log/audit/';

/** Opens persons' detail; what was logged as erased is erased, also when the program ended in the middle of it. */
export const openPersonalDetails = async (
  store: Store,
  blindingKey: Uint8Array,
  random: RandomBytes,
): Promise<PersonalDetails> => {
  const personal = createPersonalDetails({ store, prefix: AUDIT_PREFIX, blindingKey, random });
  await personal.resume();
  return personal;
};

export const retentionOf = (
  home: { readonly store: Store; readonly audit: AuditLog; readonly personal: PersonalDetails },
  clock: Clock,
  random: RandomBytes,
  rules: RetentionRules,
): Retention =>
  createRetention({
    store: home.store,
    prefix: AUDIT_PREFIX,
    audit: home.audit,
    personal: home.personal,
    clock,
    random,
    rules,
  });
