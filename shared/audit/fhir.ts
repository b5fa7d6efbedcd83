/**
 * Audit entries as FHIR R4 AuditEvent (base resource). No IHE BALP profile is claimed: a federated question is no REST search of a patient's
 * record, and no entry of these logs names a patient. Codes: DICOM PS3.16 (DCM), ISO 21089 lifecycle; both in the value sets of R4.
 */
import type { AuditAction, AuditEntry, AuditOutcome } from './entry.ts';

interface Coding {
  readonly system: string;
  readonly code: string;
  readonly display?: string;
}
interface Reference {
  readonly identifier: { readonly system: string; readonly value: string };
}
interface AuditEventAgent {
  readonly type?: { readonly coding: readonly Coding[] };
  readonly role?: readonly { readonly coding: readonly Coding[] }[];
  readonly who?: Reference;
  readonly requestor: boolean;
}
interface AuditEventEntity {
  readonly what: Reference;
  readonly type: Coding;
  readonly detail?: readonly { readonly type: string; readonly valueString: string }[];
}
/** The elements of the R4 resource that are used here. */
export interface AuditEvent {
  readonly resourceType: 'AuditEvent';
  readonly id: string;
  readonly type: Coding;
  readonly subtype: readonly Coding[];
  readonly action: 'C' | 'R' | 'U' | 'D' | 'E';
  readonly recorded: string;
  readonly outcome?: '0' | '4' | '8' | '12';
  readonly outcomeDesc: string;
  readonly purposeOfEvent?: readonly { readonly text: string }[];
  readonly agent: readonly AuditEventAgent[];
  readonly source: { readonly observer: Reference; readonly type: readonly Coding[] };
  readonly entity: readonly AuditEventEntity[];
}

const DCM = 'http://dicom.nema.org/resources/ontology/DCM';
const ISO_21089 = 'http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle';
const OWN = 'urn:qfl:audit-action';

const dcm = (code: string, display: string): Coding => ({ system: DCM, code, display });

const TYPES = {
  activity: dcm('110100', 'Application Activity'),
  auditUse: dcm('110101', 'Audit Log Used'),
  exported: dcm('110106', 'Export'),
  imported: dcm('110107', 'Import'),
  query: dcm('110112', 'Query'),
  alert: dcm('110113', 'Security Alert'),
  authentication: dcm('110114', 'User Authentication'),
} as const;
const SUBTYPES = {
  start: dcm('110120', 'Application Start'),
  stop: dcm('110121', 'Application Stop'),
  login: dcm('110122', 'Login'),
  logout: dcm('110123', 'Logout'),
  node: dcm('110126', 'Node Authentication'),
  emergency: dcm('110127', 'Emergency Override Started'),
  network: dcm('110128', 'Network Configuration'),
  configuration: dcm('110129', 'Security Configuration'),
  restricted: dcm('110132', 'Use of Restricted Function'),
  roles: dcm('110136', 'Security Roles Changed'),
  attributes: dcm('110137', 'User security Attributes Changed'),
  normal: dcm('110138', 'Emergency Override Stopped'),
  disclose: { system: ISO_21089, code: 'disclose', display: 'Disclose Record Lifecycle Event' },
  destroy: { system: ISO_21089, code: 'destroy', display: 'Destroy/Delete Record Lifecycle Event' },
} as const;

interface Meaning {
  readonly type: keyof typeof TYPES;
  readonly subtype?: keyof typeof SUBTYPES;
  /** Create, read, update, delete, execute. */
  readonly action: 'C' | 'R' | 'U' | 'D' | 'E';
}
const meaning = (
  type: Meaning['type'],
  action: Meaning['action'],
  subtype?: Meaning['subtype'],
): Meaning => ({
  type,
  action,
  ...(subtype === undefined ? {} : { subtype }),
});

/** What each action of ours is in DICOM's words; our own name is a second subtype of every event. */
export const MEANINGS: Readonly<Record<AuditAction, Meaning>> = {
  'program.start': meaning('activity', 'E', 'start'),
  'program.stop': meaning('activity', 'E', 'stop'),
  'clock.confirmed': meaning('alert', 'E', 'configuration'),
  'site.invited': meaning('alert', 'C', 'network'),
  'site.joined': meaning('alert', 'C', 'network'),
  'site.approved': meaning('alert', 'U', 'network'),
  'site.revoked': meaning('alert', 'D', 'network'),
  'session.opened': meaning('authentication', 'E', 'node'),
  'session.closed': meaning('authentication', 'E', 'node'),
  'session.refused': meaning('alert', 'E', 'node'),
  'key.created': meaning('alert', 'C', 'attributes'),
  'key.revoked': meaning('alert', 'D', 'attributes'),
  'key.rotated': meaning('alert', 'U', 'attributes'),
  'key.compared': meaning('alert', 'U', 'attributes'),
  'key.recovery': meaning('alert', 'U', 'attributes'),
  'backup.made': meaning('alert', 'R', 'configuration'),
  'log.restored': meaning('alert', 'U', 'configuration'),
  'access.refused': meaning('alert', 'E', 'restricted'),
  'account.created': meaning('alert', 'C', 'attributes'),
  'account.changed': meaning('alert', 'U', 'roles'),
  'account.signed_in': meaning('authentication', 'E', 'login'),
  'account.signed_out': meaning('authentication', 'E', 'logout'),
  'account.sign_in_refused': meaning('authentication', 'E', 'login'),
  'account.locked': meaning('authentication', 'E', 'login'),
  'account.unlocked': meaning('alert', 'U', 'attributes'),
  'session.token_reused': meaning('alert', 'E', 'restricted'),
  'tokens.revoked': meaning('alert', 'E', 'attributes'),
  'proposal.made': meaning('alert', 'C', 'configuration'),
  'proposal.approved': meaning('alert', 'U', 'configuration'),
  'proposal.refused': meaning('alert', 'U', 'configuration'),
  'budget.raised': meaning('alert', 'U', 'restricted'),
  'settings.changed': meaning('alert', 'U', 'configuration'),
  'notification.sent': meaning('alert', 'E'),
  'incident.reported': meaning('auditUse', 'R'),
  'chat.asked': meaning('query', 'E'),
  'chat.served': meaning('query', 'E'),
  'chat.answered': meaning('query', 'E'),
  'stats.asked': meaning('query', 'E'),
  'stats.served': meaning('query', 'E'),
  'stats.answered': meaning('query', 'E'),
  'budget.reserved': meaning('query', 'E'),
  'budget.committed': meaning('query', 'E'),
  'budget.released': meaning('query', 'E'),
  'budget.refused': meaning('query', 'E'),
  'ledger.countersigned': meaning('alert', 'U'),
  'ledger.restored': meaning('alert', 'U', 'configuration'),
  'ledger.stated': meaning('auditUse', 'R'),
  'ledger.compacted': meaning('alert', 'U', 'configuration'),
  'ledger.block_retired': meaning('alert', 'U', 'restricted'),
  'records.imported': meaning('imported', 'C'),
  'records.erased': meaning('imported', 'D', 'destroy'),
  'erasure.refused': meaning('alert', 'E', 'restricted'),
  'plan.made': meaning('query', 'E'),
  'relay.dispatched': meaning('query', 'E'),
  'policy.changed': meaning('alert', 'U', 'configuration'),
  'round.started': meaning('activity', 'C'),
  'round.joined': meaning('query', 'E'),
  'round.sent': meaning('exported', 'R', 'disclose'),
  'round.revealed': meaning('activity', 'E'),
  'round.ended': meaning('activity', 'U'),
  'model.registered': meaning('activity', 'C'),
  'model.promoted': meaning('alert', 'U', 'configuration'),
  'model.rolled_back': meaning('alert', 'U', 'configuration'),
  'model.deleted': meaning('alert', 'D', 'configuration'),
  'model.exported': meaning('exported', 'R'),
  'model.pulled': meaning('imported', 'C'),
  'model.removed': meaning('imported', 'D'),
  'model.refused': meaning('alert', 'E', 'restricted'),
  'model.used': meaning('query', 'E'),
  'task.created': meaning('activity', 'C'),
  'task.started': meaning('activity', 'E'),
  'task.ended': meaning('activity', 'E'),
  'task.cancelled': meaning('activity', 'D'),
  'tasks.exported': meaning('exported', 'R'),
  'tasks.imported': meaning('imported', 'C'),
  'lockdown.changed': meaning('alert', 'E', 'emergency'),
  'directory.alarm': meaning('alert', 'E', 'restricted'),
  'witness.refused': meaning('alert', 'E', 'node'),
  'audit.read': meaning('auditUse', 'R'),
  'audit.erased': meaning('auditUse', 'D', 'destroy'),
  'audit.held': meaning('auditUse', 'U'),
  'audit.hold_released': meaning('auditUse', 'U'),
  'audit.pruned': meaning('auditUse', 'D', 'destroy'),
  'audit.exported': meaning('auditUse', 'R', 'disclose'),
};

/** 0 success, 4 minor failure, 8 serious failure; what was begun and never ended has none. */
const OUTCOMES: Readonly<Record<AuditOutcome, '0' | '4' | '8' | undefined>> = {
  begun: '0',
  ok: '0',
  refused: '4',
  failed: '8',
  unknown: undefined,
};

const subtypeOf = ({ action, objects }: AuditEntry): Coding[] => {
  const { subtype } = MEANINGS[action];
  const isRelease = action === 'lockdown.changed' && objects.some(({ id }) => id === 'off');
  const named = isRelease ? 'normal' : subtype;
  return [...(named === undefined ? [] : [SUBTYPES[named]]), { system: OWN, code: action }];
};

const program = (source: string, requestor: boolean): AuditEventAgent => ({
  type: { coding: [dcm('110150', 'Application')] },
  who: { identifier: { system: 'urn:qfl:program', value: source } },
  requestor,
});

const agentsOf = ({ actor, role, source }: AuditEntry): AuditEventAgent[] => {
  if (actor === null && role === null) return [program(source, true)];
  return [
    {
      ...(role === null ? {} : { role: [{ coding: [{ system: 'urn:qfl:role', code: role }] }] }),
      ...(actor === null ? {} : { who: { identifier: { system: 'urn:qfl:pseudonym', value: actor } } }),
      requestor: true,
    },
    program(source, false),
  ];
};

const OTHER: Coding = {
  system: 'http://terminology.hl7.org/CodeSystem/audit-entity-type',
  code: '4',
  display: 'Other',
};

/** The entry itself, with what the base resource has no place for. */
const leafEntity = (entry: AuditEntry, origin: string): AuditEventEntity => {
  const { requestId, classification, cost, session, detail, counter } = entry;
  const details = { requestId, classification, cost, session, detail };
  const given = Object.entries(details).flatMap(([type, value]) =>
    value === null ? [] : [{ type, valueString: String(value) }],
  );
  return {
    what: { identifier: { system: `urn:qfl:log:${origin}`, value: String(counter) } },
    type: OTHER,
    ...(given.length === 0 ? {} : { detail: given }),
  };
};

/** `origin`: name of the log, so that the event leads back to its leaf. */
export const auditEventOf = (entry: AuditEntry, origin: string): AuditEvent => {
  const { type, action } = MEANINGS[entry.action];
  const outcome = OUTCOMES[entry.outcome];
  return {
    resourceType: 'AuditEvent',
    id: entry.id,
    type: TYPES[type],
    subtype: subtypeOf(entry),
    action,
    recorded: new Date(entry.timeMs).toISOString(),
    ...(outcome === undefined ? {} : { outcome }),
    outcomeDesc: entry.outcome,
    ...(entry.purpose === null ? {} : { purposeOfEvent: [{ text: entry.purpose }] }),
    agent: agentsOf(entry),
    source: {
      observer: { identifier: { system: 'urn:qfl:program', value: entry.source } },
      type: [
        {
          system: 'http://terminology.hl7.org/CodeSystem/security-source-type',
          code: '4',
          display: 'Application Server',
        },
      ],
    },
    entity: [
      leafEntity(entry, origin),
      ...entry.objects.map(({ kind, id }): AuditEventEntity => ({
        what: { identifier: { system: `urn:qfl:${kind}`, value: id } },
        type: OTHER,
      })),
    ],
  };
};

export const EVENT_COLUMNS = [
  'log',
  'index',
  'id',
  'time_utc',
  'source',
  'action',
  'outcome',
  'actor_pseudonym',
  'role',
  'purpose',
  'classification',
  'request_id',
  'objects',
  'cost_2^-40_nat',
] as const;

export const eventCells = (entry: AuditEntry, log: string): readonly (string | number | null)[] => [
  log,
  entry.counter,
  entry.id,
  new Date(entry.timeMs).toISOString(),
  entry.source,
  entry.action,
  entry.outcome,
  entry.actor,
  entry.role,
  entry.purpose,
  entry.classification,
  entry.requestId,
  entry.objects.map(({ kind, id }) => `${kind}=${id}`).join(' '),
  entry.cost,
];
