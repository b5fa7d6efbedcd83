import { describe, expect, test } from 'vitest';
import {
  classOf,
  CLASSES,
  mayArrive,
  mayTravel,
  priorityOf,
  requirePermission,
  type AccessPolicy,
} from '../../../agent/access/policy.ts';
import { createPseudonyms } from '../../../agent/access/pseudonyms.ts';
import { DepartmentId, KeyId, SiteId } from '../../../shared/ids.ts';
import type { DataClass } from '../../../shared/wire/envelope.ts';

const here = SiteId.parse('north');
const there = SiteId.parse('south');
const policy: AccessPolicy = {
  rolePermissions: {
    doctor: ['query', 'planning', 'measurement'],
    nurse: ['query', 'basic_planning'],
    researcher: ['query'],
    admin: ['all'],
  },
  departmentPriorities: { emergency: 9, icu: 8, research: 1 },
  restrictedTravelsTo: [there],
  restrictedAcceptedFrom: [],
};
const key = (role: string, dataClass: DataClass) => ({
  id: KeyId.parse('0'.repeat(16)),
  name: 'somebody',
  role,
  department: DepartmentId.parse('icu'),
  dataClass,
  createdMs: 0,
  expiresMs: null,
  revoked: false,
});
const allows = (run: () => unknown): boolean => {
  try {
    run();
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: 'forbidden' });
    return false;
  }
};

describe('permissions', () => {
  test.each([
    ['doctor', 'query', true],
    ['doctor', 'measurement', true],
    ['doctor', 'planning', true],
    ['nurse', 'query', true],
    ['nurse', 'measurement', false],
    ['nurse', 'basic_planning', true],
    ['nurse', 'planning', false],
    ['researcher', 'query', true],
    ['researcher', 'measurement', false],
    ['admin', 'measurement', true],
    ['viewer', 'query', false],
    ['constructor', 'query', false],
  ] as const)('%s, %s: %s', (role, permission, expected) => {
    expect(allows(() => requirePermission(policy, { role }, permission))).toBe(expected);
  });
});

describe('data classes', () => {
  test('every role × key class × named class: never above the key, never above the role', () => {
    const bound: Readonly<Record<string, DataClass | undefined>> = {
      doctor: 'restricted',
      admin: 'restricted',
      nurse: 'confidential',
      researcher: 'internal',
      viewer: undefined,
    };
    for (const [role, roleClass] of Object.entries(bound)) {
      for (const keyClass of CLASSES) {
        for (const named of [undefined, ...CLASSES]) {
          const wanted = named ?? keyClass;
          const fits =
            roleClass !== undefined &&
            CLASSES.indexOf(wanted) <= CLASSES.indexOf(keyClass) &&
            CLASSES.indexOf(wanted) <= CLASSES.indexOf(roleClass);
          expect(
            allows(() => expect(classOf(key(role, keyClass), named)).toBe(wanted)),
            `${role} ${keyClass} ${named}`,
          ).toBe(fits);
        }
      }
    }
  });

  test('restricted travels and arrives only where policy names the site', () => {
    expect(mayTravel(policy, 'restricted', there)).toBe(true);
    expect(mayTravel(policy, 'restricted', here)).toBe(false);
    expect(mayTravel(policy, 'confidential', here)).toBe(true);
    expect(mayArrive(policy, 'restricted', there)).toBe(false);
    expect(mayArrive(policy, 'internal', there)).toBe(true);
  });
});

test('departments have the priority that the configuration gives them, others the middle', () => {
  const asked = ['emergency', 'icu', 'research', 'other', 'toString'];
  expect(asked.map((department) => priorityOf(policy, department))).toEqual([9, 8, 1, 4, 4]);
});

test('a pseudonym is stable per person and site, and tells nothing to another site', () => {
  const [north, south] = [createPseudonyms(Buffer.alloc(32, 1)), createPseudonyms(Buffer.alloc(32, 2))];
  expect(north.of({ name: 'Dr Owl' })).toBe(north.of({ name: 'Dr Owl' }));
  expect(north.of({ name: 'Dr Owl' })).not.toBe(south.of({ name: 'Dr Owl' }));
  expect(north.of({ name: 'Dr Owl' })).not.toBe(north.of({ name: 'Dr Heron' }));
});
