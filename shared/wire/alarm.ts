/**
 * A site's alarm to all others: signed by the site, carried by the coordinator. A coordinator that hides it cannot hide that the site no longer
 * cosigns the directory.
 */
import { z } from 'zod';
import { fromBase64, toBase64, utf8 } from '../bytes.ts';
import { type Identity, type IdentityPublic, verifyHybrid } from '../crypto/signature.ts';
import { QflError } from '../errors.ts';
import { SiteId } from '../ids.ts';

const LABEL = 'qfl directory alarm v1';

/** `own_name`: a record of the site that it did not make. `fork`: two histories signed by the log. `over`: its lockdown was ended. */
export const AlarmKind = z.enum(['own_name', 'fork', 'over']);
export const Alarm = z.strictObject({
  site: SiteId,
  kind: AlarmKind,
  detail: z.string().max(500),
  atMs: z.int().nonnegative(),
});
export type Alarm = z.infer<typeof Alarm>;
export const SignedAlarm = z.strictObject({
  alarm: Alarm,
  ed25519: z.base64(),
  mldsa65: z.base64(),
});
export type SignedAlarm = z.infer<typeof SignedAlarm>;

const message = ({ site, kind, detail, atMs }: Alarm): Uint8Array =>
  utf8(JSON.stringify([site, kind, detail, atMs]));

export const signAlarm = (identity: Identity, alarm: Alarm): SignedAlarm => {
  const { ed25519, mldsa65 } = identity.signHybrid(LABEL, message(alarm));
  return { alarm, ed25519: toBase64(ed25519), mldsa65: toBase64(mldsa65) };
};

/** @throws QflError `protocol`, `bad_signature` */
export const checkAlarm = (value: unknown, identityOf: (site: SiteId) => IdentityPublic): Alarm => {
  const parsed = SignedAlarm.safeParse(value);
  if (!parsed.success) throw new QflError('protocol', { detail: 'not an alarm' });
  const { alarm, ed25519, mldsa65 } = parsed.data;
  const signature = { ed25519: fromBase64(ed25519), mldsa65: fromBase64(mldsa65) };
  if (verifyHybrid(identityOf(alarm.site), LABEL, message(alarm), signature)) return alarm;
  throw new QflError('bad_signature', { detail: `the alarm of ${alarm.site} is not signed by it` });
};
