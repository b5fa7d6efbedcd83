/**
 * What must not be counted. Each rule errs on the patient's side: a row too few costs accuracy, a row too many costs
 * a person's wish or a wrong figure.
 */
import { z } from 'zod';

const Coded = z.looseObject({ code: z.string().optional() });
const CodedList = z.array(Coded).catch([]);
const WithCoding = z.looseObject({ coding: CodedList.optional() }).catch({});

/** v3-ActCode consent directives (OPTOUT, OPTOUTE) and "no disclosure" obligations, besides plain local spellings. */
const OPT_OUT_CODES = new Set(['optout', 'optoute', 'opt-out', 'opted-out', 'nodsclcd', 'nodsclcds']);

const VOID_STATUS = new Set(['entered-in-error', 'not-done']);
const VOID_VERIFICATION = new Set(['refuted', 'entered-in-error']);

const hasOptOutCode = (codings: readonly z.infer<typeof Coded>[] | undefined): boolean =>
  (codings ?? []).some(({ code }) => code !== undefined && OPT_OUT_CODES.has(code.toLowerCase()));

const Labelled = z.looseObject({
  meta: z.looseObject({ tag: CodedList.optional(), security: CodedList.optional() }).catch({}).optional(),
});

const hasOptOutLabel = (resource: unknown): boolean => {
  const meta = Labelled.safeParse(resource).data?.meta;
  return hasOptOutCode(meta?.tag) || hasOptOutCode(meta?.security);
};

interface Provision {
  readonly type?: unknown;
  readonly provision?: readonly unknown[] | undefined;
}

const ProvisionShape = z.looseObject({
  type: z.unknown().optional(),
  provision: z.array(z.unknown()).optional(),
});

/** Any deny, at any level, for any purpose or time: a consent that forbids something is not read as a permission. */
const denies = (value: unknown, depthLeft: number): boolean => {
  const provision: Provision | undefined = ProvisionShape.safeParse(value).data;
  if (provision === undefined || depthLeft === 0) return false;
  return (
    provision.type === 'deny' || (provision.provision ?? []).some((nested) => denies(nested, depthLeft - 1))
  );
};

const ConsentShape = z.looseObject({
  resourceType: z.literal('Consent'),
  status: z.string().optional(),
  provision: z.unknown().optional(),
  policyRule: WithCoding.optional(),
  category: z.array(WithCoding).catch([]).optional(),
});

const PROVISION_DEPTH_MAX = 8;

/**
 * A Consent in force (status `active`) that denies or carries an opt-out code, or any resource labelled so in
 * `meta.tag` or `meta.security`.
 */
export const isOptOut = (resource: unknown): boolean => {
  const consent = ConsentShape.safeParse(resource).data;
  if (consent === undefined) return hasOptOutLabel(resource);
  if (consent.status !== 'active') return false;
  return (
    hasOptOutLabel(resource) ||
    denies(consent.provision, PROVISION_DEPTH_MAX) ||
    hasOptOutCode(consent.policyRule?.coding) ||
    (consent.category ?? []).some(({ coding }) => hasOptOutCode(coding))
  );
};

const Countable = z.looseObject({
  status: z.unknown().optional(),
  verificationStatus: WithCoding.optional(),
  doNotPerform: z.unknown().optional(),
});

/** False for what did not happen or is not so: entered in error, refuted, not done, ordered not to be done, labelled. */
export const isCounted = (resource: unknown): boolean => {
  const row = Countable.safeParse(resource).data;
  if (row === undefined || row.doNotPerform === true || hasOptOutLabel(resource)) return false;
  if (typeof row.status === 'string' && VOID_STATUS.has(row.status)) return false;
  const verification = row.verificationStatus?.coding ?? [];
  return !verification.some(({ code }) => code !== undefined && VOID_VERIFICATION.has(code));
};
