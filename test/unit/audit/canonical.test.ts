import { describe, expect, it } from 'vitest';
import { utf8 } from '../../../shared/bytes.ts';
import { canonicalJson, type CanonicalValue, parseCanonical } from '../../../shared/audit/canonical.ts';

describe('canonical JSON', () => {
  it('sorts members by UTF-16 code units and escapes as RFC 8785 §3.2.2.2 and §3.2.3 show', () => {
    const value = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    };
    expect(Object.values(JSON.parse(canonicalJson(value)) as object)).toHaveLength(7);
    expect(canonicalJson(value)).toBe(
      '{"\\r":"Carriage Return","1":"One","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis",' +
        '"\u20ac":"Euro Sign","\ud83d\ude00":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
    );
    expect(canonicalJson('\u20ac$\u000f\u000aA\'\u0042\u0022\u005c\\"/')).toBe(
      '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"',
    );
    expect(canonicalJson([56, { d: true, '10': null, '1': [] }])).toBe('[56,{"1":[],"10":null,"d":true}]');
  });

  it.each([
    ['a float', 1.5],
    ['an unsafe integer', 2 ** 53],
    ['not a number', Number.NaN],
    ['undefined', undefined],
    ['a member that is undefined', { a: undefined }],
    ['a date', new Date(0)],
    ['a lone surrogate', '\ud800'],
    ['a bigint', 1n],
  ])('refuses %s', (_, value) => {
    expect(() => canonicalJson(value as CanonicalValue)).toThrowError(/not valid/);
  });

  it('refuses nesting beyond its depth', () => {
    let value: CanonicalValue = 0;
    for (let depth = 0; depth < 40; depth += 1) value = [value];
    expect(() => canonicalJson(value)).toThrowError(/nested/);
  });

  it('reads only the one spelling', () => {
    expect(parseCanonical(utf8('{"a":[1,null],"b":"\u00e4"}'))).toEqual({ a: [1, null], b: '\u00e4' });
    const others = ['{"b":1,"a":2}', '{"a":1,"a":1}', '{ "a":1}', '"\\u00e4"', '1.0', '1e2', '-0', '', '{'];
    for (const text of others) expect(() => parseCanonical(utf8(text))).toThrowError(/not valid/);
    expect(() => parseCanonical(Uint8Array.of(34, 0xff, 34))).toThrowError(/canonical/);
  });
});
