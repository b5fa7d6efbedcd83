/** The table of the default configuration, cell by cell: a change of any of them has to be made here too. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { authorizePrincipal, type AccessRules } from '../../../shared/access/authorize.ts';
import { isAddressRule, addressFilter } from '../../../shared/access/addresses.ts';
import { type Operation, OPERATION_NAMES } from '../../../shared/access/operations.ts';
import type { Principal } from '../../../shared/access/principal.ts';
import { accessRulesOf } from '../../../shared/access/rules.ts';
import { createAccessTable, DATA_CLASSES, tableRows } from '../../../shared/access/table.ts';
import { DepartmentId } from '../../../shared/ids.ts';
import { TEST_RULES } from '../http/fixture.ts';

/** Operations beyond those of everybody, and the highest class of data. */
const EXPECTED: Readonly<Record<string, { readonly highest: string; readonly may: readonly Operation[] }>> = {
  doctor: {
    highest: 'restricted',
    may: [
      'chat.ask',
      'models.read',
      'models.predict',
      'tasks.create',
      'rounds.change',
      'statistics.ask',
      'records.ask',
    ],
  },
  nurse: {
    highest: 'confidential',
    may: ['chat.ask', 'models.read', 'models.predict', 'tasks.create', 'rounds.change'],
  },
  researcher: { highest: 'internal', may: ['chat.ask', 'models.read', 'tasks.create', 'rounds.change'] },
  user: { highest: 'internal', may: ['chat.ask', 'models.read', 'tasks.create', 'rounds.change'] },
  viewer: {
    highest: 'internal',
    may: ['sites.read', 'settings.read', 'budgets.read', 'roles.read', 'usage.read'],
  },
  auditor: {
    highest: 'confidential',
    may: [
      'sites.read',
      'settings.read',
      'budgets.read',
      'roles.read',
      'usage.read',
      'plans.read',
      'audit.read',
      'audit.export',
      'privacy.history',
    ],
  },
  admin: { highest: 'restricted', may: OPERATION_NAMES.filter((name) => name !== 'machine.files') },
};
const EVERYBODY: readonly Operation[] = [
  'directory.read',
  'self.read',
  'self.change',
  'status.read',
  'policy.read',
  'privacy.read',
  'tasks.read',
  'rounds.read',
  'registry.read',
  'lockdown.read',
];

describe('the access table', () => {
  const { table } = TEST_RULES;

  it('has no operation that nothing asks for', () => {
    const root = join(import.meta.dirname, '../../..');
    const texts = ['agent', 'coordinator', 'shared'].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        // The table itself, and what goes on in a lockdown, only list them.
        .filter((file) => file.endsWith('.ts') && !/operations\.ts$|emergency.lockdown\.ts$/.test(file))
        .map((file) => readFileSync(join(root, folder, file), 'utf8')),
    );
    const asked = new Set(texts.flatMap((text) => text.match(/'[a-z]+\.[a-z]+'/g) ?? []));
    expect(OPERATION_NAMES.filter((name) => !asked.has(`'${name}'`))).toEqual([]);
  });

  it('has these roles', () => {
    expect(table.roles).toEqual(Object.keys(EXPECTED).toSorted());
  });

  it.each(Object.keys(EXPECTED))(
    'of %s is as it stands here, for every operation and class of data',
    (role) => {
      const { highest, may } = EXPECTED[role]!;
      for (const operation of OPERATION_NAMES)
        for (const dataClass of DATA_CLASSES) {
          const isWithin =
            DATA_CLASSES.indexOf(dataClass) <= DATA_CLASSES.findIndex((one) => one === highest);
          const isGranted = EVERYBODY.includes(operation) || may.includes(operation);
          expect(table.allows(role, operation, dataClass), `${operation} ${dataClass}`).toBe(
            isGranted && isWithin,
          );
        }
    },
  );

  it('gives an unknown role nothing, not even what everybody has', () => {
    for (const { operation } of tableRows(table)) expect(table.bound('stranger', operation)).toBeNull();
    expect(table.bound('constructor', 'self.read')).toBeNull();
  });

  it('gives a role without a class of data only what is public', () => {
    const own = createAccessTable({
      rolePermissions: new Map([['porter', ['query', 'sites.read']]]),
      roleDataClasses: new Map(),
    });
    expect(own.bound('porter', 'chat.ask')).toBe('public');
    expect(own.bound('porter', 'sites.read')).toBeNull();
  });
});

const principal = (role: string, rest: Partial<Principal> = {}): Principal => ({
  kind: 'key',
  id: '0',
  name: 'n',
  role,
  department: DepartmentId.parse('icu'),
  dataClass: 'restricted',
  scopes: null,
  sessionId: null,
  isRestricted: false,
  ...rest,
});
const allows = (rules: AccessRules, who: Principal, operation: Operation, address = '192.0.2.1'): boolean => {
  try {
    authorizePrincipal(rules, who, operation, address);
    return true;
  } catch {
    return false;
  }
};

describe('the decision', () => {
  it('keeps a key to its scopes, which never widen its role', () => {
    const scoped = principal('admin', { scopes: ['sites.read'] });
    const allowed = OPERATION_NAMES.filter((operation) => allows(TEST_RULES, scoped, operation));
    expect(allowed.toSorted()).toEqual([...EVERYBODY, 'sites.read'].toSorted());
    expect(allows(TEST_RULES, principal('viewer', { scopes: ['sites.change'] }), 'sites.change')).toBe(false);
  });

  it('lets a person without the second factor look after the own account only', () => {
    const who = principal('admin', { isRestricted: true });
    expect(OPERATION_NAMES.filter((operation) => allows(TEST_RULES, who, operation)).toSorted()).toEqual(
      [...EVERYBODY].toSorted(),
    );
  });

  it('takes administration only from the addresses that are allowed', () => {
    const rules = accessRulesOf({
      rolePermissions: new Map([['admin', ['all']]]),
      roleDataClasses: new Map(),
      adminAllowedAddresses: ['10.1.0.0/16', '2001:db8::7'],
    });
    const from = (address: string) => allows(rules, principal('admin'), 'sites.change', address);
    expect([from('10.1.2.3'), from('::ffff:10.1.2.3'), from('2001:db8::7')]).toEqual([true, true, true]);
    expect([from('10.2.2.3'), from('2001:db8::8'), from('nonsense')]).toEqual([false, false, false]);
    expect(allows(rules, principal('admin'), 'sites.read', '10.2.2.3')).toBe(true);
  });

  it.each([
    ['10.0.0.0/8', true],
    ['10.0.0.0/33', false],
    ['10.0.0', false],
    ['::1', true],
    ['::/129', false],
    ['a/b', false],
    ['10.0.0.1/8/9', false],
  ])('knows %s as an address rule: %s', (rule, expected) => {
    expect(isAddressRule(rule)).toBe(expected);
    if (expected) expect(typeof addressFilter([rule])).toBe('function');
  });
});
