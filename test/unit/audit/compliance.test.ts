/** What auditors read: the files made from the entries, counted and safe. */
import { describe, expect, it } from 'vitest';
import { complianceDeriver } from '../../../coordinator/audit/compliance/derive.ts';
import { complianceReport, reportText } from '../../../coordinator/audit/compliance/report.ts';
import { csvRow } from '../../../shared/audit/csv.ts';
import { EVERYTHING, exportLog } from '../../../shared/audit/export.ts';
import { verifyExport } from '../../../shared/audit/verify/verify.ts';
import { COMPLIANCE_FACTS } from './compliance-facts.ts';
import { exportOf, once, openTestLog, POLICY } from './export-fixture.ts';
import { unpack } from './unpack.ts';

/** Text of the pages: standard fonts in hexadecimal strings, line by line. */
const pdfText = (pdf: string): string =>
  [...pdf.matchAll(/\[((?:<[0-9a-f]*>|[\s\d.-])+)\] TJ/g)]
    .map(([, shown = '']) =>
      [...shown.matchAll(/<([0-9a-f]*)>/g)]
        .map(([, hex = '']) => Buffer.from(hex, 'hex').toString('latin1'))
        .join(''),
    )
    .join('\n');

const exported = async (selection = EVERYTHING) => {
  const { log, audit } = await openTestLog('coordinator', 3);
  expect(log.name).toBe('coordinator');
  const site = { kind: 'site', id: 'lakeside' };
  for (const event of [
    { action: 'stats.served', outcome: 'ok', objects: [site], purpose: 'statistics', cost: 5 },
    { action: 'stats.served', outcome: 'ok', objects: [site], purpose: 'statistics', cost: 6 },
    { action: 'stats.served', outcome: 'refused', objects: [site] },
    { action: 'account.signed_in', outcome: 'ok', objects: [{ kind: 'account', id: 'a1' }] },
    { action: 'account.changed', outcome: 'ok', objects: [{ kind: 'account', id: 'a1' }] },
    { action: 'access.refused', outcome: 'refused' },
  ] as const)
    await audit.record(event);
  const tar = await exportOf([await exportLog('coordinator', 'audit', audit.log)], {
    selection,
    derive: (folder) => complianceDeriver(COMPLIANCE_FACTS, folder),
  });
  return { tar, files: await unpack(tar) };
};

const dataRows = (files: ReadonlyMap<string, string>, name: string): string[] =>
  (files.get(name) ?? '').split('\r\n').slice(1, -1);

describe('a compliance export', () => {
  it('has the same number of entries in NDJSON, CSV, PDF and the leaves', async () => {
    for (const [selection, expected] of [
      [EVERYTHING, 9],
      [
        {
          ...EVERYTHING,
          filter: { action: 'stats.*' },
          wants: ({ action }: { action: string }) => action.startsWith('stats.'),
        },
        3,
      ],
    ] as const) {
      const { tar, files } = await exported(selection);
      const report = await verifyExport(once(tar), { policy: POLICY });
      expect(report).toMatchObject({ outcome: 'good', logs: [{ entries: expected }] });
      expect(files.get('events.ndjson')!.trimEnd().split('\n')).toHaveLength(expected);
      expect(dataRows(files, 'events.csv')).toHaveLength(expected);
      const text = pdfText(files.get('summary.pdf')!);
      expect(text).toContain(`Entries in this export: ${expected}.`);
      expect(text).toContain(
        `coordinator: ${expected} entries in full, ${9 - expected} by hash only, of 9 in the log.`,
      );
      expect(text).toContain('Trägerverein, e.V.');
    }
  });

  it('accounts for disclosures by protocol, and for nobody else’s', async () => {
    const { files } = await exported();
    const rows = dataRows(files, 'disclosures.csv');
    expect(rows).toHaveLength(1);
    expect(rows[0]).toContain('no identifiable disclosure; took part in 2 federated computations');
    expect(rows[0]).toContain(',coordinator,lakeside,,');
  });

  it('reviews access, states budgets and security, and leaves open what nobody knows', async () => {
    const { files } = await exported();
    expect(dataRows(files, 'access-review.csv')).toEqual([
      `account,${'0a'.repeat(16)},a1,'=cmd,icu,internal,active,yes,2026-05-28T20:26:40.000Z,,1,1,,`,
    ]);
    expect(dataRows(files, 'budget.csv')).toEqual(['lakeside,approved,,,,']);
    const incidents = files
      .get('incidents.ndjson')!
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { action: string });
    expect(incidents.map(({ action }) => action)).toEqual(['account.changed', 'access.refused']);
    const art30 = JSON.parse(files.get('art30.json')!) as Record<string, unknown>;
    expect(art30).toMatchObject({
      legalBasis: null,
      thirdCountryTransfers: null,
      purposes: ['statistics'],
      recipients: ['lakeside'],
      controller: { name: 'Trägerverein, e.V.', contact: null },
    });
    const control = dataRows(files, 'soc2-map.csv').join('\n');
    for (const named of control.matchAll(/[\w-]+\.(?:csv|ndjson|json|txt)/g))
      expect([...files.keys()], named[0]).toContain(named[0]);
  });
});

describe('a cell of a table', () => {
  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1'])('%j is text, not a formula', (cell) => {
    expect(csvRow([cell]).startsWith("'")).toBe(true);
  });
  it('is quoted as RFC 4180 wants it, on one line', () => {
    expect(csvRow(['a,b', 'say "x"', 'two\nlines', null, 3, -4])).toBe(
      '"a,b","say ""x""",two lines,,3,-4\r\n',
    );
  });
});

describe('the report of a log that no raise is in', () => {
  it('does not say that there was none: raises are in the logs of the sites', async () => {
    const { audit } = await openTestLog('coordinator', 3);
    const reportOf = () =>
      complianceReport({
        audit,
        kind: 'privacy',
        federation: 'f',
        organisation: null,
        fromMs: 0,
        toMs: 4_000_000_000_000,
        nowMs: 1,
        budgets: { authority: 'the sites', microEpsilonMax: 1, sites: [] },
        accounts: { active: 0, disabled: 0, withSecondFactor: 0, programKeys: 0 },
      });
    const report = await reportOf();
    expect(report.budgets.raises).toBeNull();
    expect(reportText(report)).toContain('Raises of budgets in the period: unknown');
    await audit.record({ action: 'budget.raised', outcome: 'ok' });
    expect((await reportOf()).budgets.raises).toBe(1);
  });
});
