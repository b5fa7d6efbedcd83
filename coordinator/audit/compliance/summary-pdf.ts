/** A page or two for people: what the export holds, what happened, how to check it. */
import type { LogDescription } from '../../../shared/audit/export-format.ts';
import type { ComplianceFacts } from './facts.ts';
import type { Tally } from './tally.ts';

const MARGIN = 56;
const SIZE = { title: 18, head: 12, text: 9.5 } as const;
const COUNTS_MAX = 24;
const SITES_MAX = 40;

const day = (ms: number | null, otherwise: string): string =>
  ms === null ? otherwise : `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

/** Lines as they stand in the document; a heading begins with `# `. */
export const summaryLines = (
  tally: Tally,
  facts: ComplianceFacts,
  logs: readonly LogDescription[],
): readonly string[] => {
  const counts = [...tally.counts].toSorted(([, a], [, b]) => b - a);
  const { organisation, period } = facts;
  const audits = logs.filter(({ kind }) => kind === 'audit');
  return [
    '# Scope',
    `Federation: ${facts.federation}. Organisation: ${organisation.name ?? 'not configured'}. Contact: ${organisation.contact ?? 'not configured'}.`,
    `Period: ${day(period.fromMs, 'the beginning of the logs')} to ${day(period.toMs, 'the export')}${facts.filtered ? ', filtered (see manifest.json)' : ''}.`,
    `Made ${day(facts.createdMs, '')} for ${facts.requestedBy}, ground: ${facts.ground}. All times are UTC.`,
    `Entries in this export: ${tally.entries}. First: ${day(tally.firstMs, 'none')}; last: ${day(tally.lastMs, 'none')}.`,
    ...(facts.sitesMissing.length === 0
      ? []
      : [`Without the logs of: ${facts.sitesMissing.join(', ')} (could not be reached).`]),
    '# Logs',
    ...audits.map(
      ({ name, entries, first, end, size }) =>
        `${name}: ${entries} entries in full, ${end - first - entries} by hash only, of ${size} in the log.`,
    ),
    '# What happened',
    ...(counts.length === 0 ? ['Nothing in this period.'] : []),
    ...counts.slice(0, COUNTS_MAX).map(([key, times]) => `${key.replace(' ', ' - ')}: ${times}`),
    ...(counts.length > COUNTS_MAX
      ? [`and ${counts.length - COUNTS_MAX} further kinds, see events.csv.`]
      : []),
    '# Security',
    `Entries that bear on security: ${tally.security} (incidents.ndjson). Lockdowns: ${tally.counts.get('lockdown.changed ok') ?? 0}. Refused sign-ins: ${tally.counts.get('account.sign_in_refused refused') ?? 0}. Refused accesses: ${tally.counts.get('access.refused refused') ?? 0}.`,
    `Accounts: ${facts.accounts.length}, of which ${facts.accounts.filter(({ secondFactor }) => secondFactor).length} with a second factor. Keys of programs: ${facts.programKeys.length} (access-review.csv).`,
    '# Sites and privacy budgets',
    ...facts.sites
      .slice(0, SITES_MAX)
      .map(
        ({ site, status, budgetTenths }) =>
          `${site}: ${status}; lifetime budget left: ${budgetTenths === null ? 'unknown (not connected)' : `${budgetTenths}/10`}; statistics served: ${tally.sources.get(site)?.served ?? 'log not in this export'}.`,
      ),
    ...(facts.sites.length > SITES_MAX
      ? [`and ${facts.sites.length - SITES_MAX} further sites, see budget.csv.`]
      : []),
    'No identifiable disclosure is made by the federation; aggregates under differential privacy are listed by protocol in disclosures.csv.',
    '# How to verify',
    '1. Get the policy file from a hospital, not from whoever made this export: qfl audit policy --out policy.txt',
    '2. On any machine, without a network: qfl audit verify FILE --policy policy.txt',
    '3. Exit code 0: good. 2: something was changed. 3: something is missing. 4: not signed by whom the policy names.',
    'The format is described in audit-format.md, precisely enough to write another verifier. This page is made from the entries; the entries are the evidence.',
  ];
};

/** Standard fonts hold Latin-1 only. */
const plain = (text: string): string => text.replaceAll(/[^\u0020-\u007e\u00a0-\u00ff]/g, '?');

export const summaryPdf = async (lines: readonly string[], createdMs: number): Promise<Uint8Array> => {
  // Some megabytes of fonts and tables: loaded when somebody wants a page.
  const { default: PdfDocument } = await import('pdfkit');
  const document = new PdfDocument({
    size: 'A4',
    margin: MARGIN,
    // Readable without a program for PDF, and the test reads it.
    compress: false,
    info: {
      Title: 'Audit export: summary',
      Producer: 'qfl',
      Creator: 'qfl',
      CreationDate: new Date(createdMs),
    },
  });
  const pieces: Uint8Array[] = [];
  const done = new Promise<void>((resolve, reject) => {
    document.on('data', (piece: Uint8Array) => pieces.push(piece));
    document.on('end', resolve);
    document.on('error', reject);
  });
  document.font('Helvetica-Bold').fontSize(SIZE.title).text('Audit export: summary');
  for (const line of lines) {
    if (line.startsWith('# ')) {
      document
        .moveDown(0.6)
        .font('Helvetica-Bold')
        .fontSize(SIZE.head)
        .text(plain(line.slice(2)));
      document.moveDown(0.2);
    } else document.font('Helvetica').fontSize(SIZE.text).text(plain(line));
  }
  document.end();
  await done;
  return Buffer.concat(pieces);
};
