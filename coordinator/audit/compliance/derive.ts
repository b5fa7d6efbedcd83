/** The files of an export that are made for reading, from the entries as they pass. */
import { csvRow } from '../../../shared/audit/csv.ts';
import type { Deriver } from '../../../shared/audit/export.ts';
import { auditEventOf, EVENT_COLUMNS, eventCells } from '../../../shared/audit/fhir.ts';
import { type FinishedFile, smallFile, SpoolFile } from '../../../shared/audit/spool.ts';
import { utf8 } from '../../../shared/bytes.ts';
import { readCheckpoint } from '../../../shared/audit/checkpoint.ts';
import type { ComplianceFacts } from './facts.ts';
import { summaryLines, summaryPdf } from './summary-pdf.ts';
import { accessReview, art30, budgets, disclosures, soc2Map, type Table } from './tables.ts';
import { Tally } from './tally.ts';

const tableFile = (path: string, { text, rows }: Table): FinishedFile => smallFile(path, utf8(text), rows);

export const complianceDeriver = (facts: ComplianceFacts, folder: string): Deriver => {
  const tally = new Tally();
  const events = new SpoolFile(folder, 'events.ndjson');
  const csv = new SpoolFile(folder, 'events.csv');
  const incidents = new SpoolFile(folder, 'incidents.ndjson');
  const spools = [events, csv, incidents];
  const origins = new Map<string, string>();
  csv.push(csvRow(EVENT_COLUMNS));
  return {
    entry(entry, { name, checkpoint }) {
      const origin = origins.get(name) ?? readCheckpoint(checkpoint).origin;
      origins.set(name, origin);
      const bears = tally.take(entry);
      events.push(`${JSON.stringify(auditEventOf(entry, origin))}\n`);
      csv.push(csvRow(eventCells(entry, name)));
      if (!bears) return;
      const { counter, timeMs, action, outcome, actor, role, objects } = entry;
      const line = {
        log: name,
        index: counter,
        time: new Date(timeMs).toISOString(),
        action,
        outcome,
        actor,
        role,
        objects,
      };
      incidents.push(`${JSON.stringify(line)}\n`);
    },
    async drain() {
      await Promise.all(spools.map((spool) => spool.drain()));
    },
    async finish(logs) {
      const keys = facts.directory.map((one) => `${JSON.stringify(one)}\n`).join('');
      const lines = summaryLines(tally, facts, logs);
      return [
        smallFile('summary.pdf', await summaryPdf(lines, facts.createdMs)),
        await events.finish(tally.entries),
        await csv.finish(tally.entries),
        await incidents.finish(tally.security),
        tableFile('disclosures.csv', disclosures(tally)),
        tableFile('access-review.csv', accessReview(tally, facts)),
        tableFile('budget.csv', budgets(tally, facts)),
        smallFile('keys.ndjson', utf8(keys), facts.directory.length),
        smallFile('art30.json', utf8(`${JSON.stringify(art30(tally, facts), undefined, 2)}\n`)),
        tableFile('soc2-map.csv', soc2Map()),
      ];
    },
    async close() {
      await Promise.all(spools.map((spool) => spool.close()));
    },
  };
};
