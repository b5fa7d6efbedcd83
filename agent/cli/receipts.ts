/** `qfl agent receipts`: what another site signed for this site's questions, for that site to restore its ledger with. */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { connect, type TargetOptions, withClient, withTarget } from '../../shared/cli/connect.ts';
import { note, printJson, run, say, table } from '../../shared/cli/output.ts';
import { Receipt } from '../../shared/wire/envelope.ts';

const fetchReceipts = (options: TargetOptions, site: string): Promise<Receipt[]> =>
  withClient(connect(options, 'agent'), async (client) => {
    const receipts: Receipt[] = [];
    const path = `/v1/admin/receipts?site=${encodeURIComponent(site)}`;
    for await (const receipt of client.ndjson('GET', path, Receipt)) receipts.push(receipt);
    return receipts;
  });

const show = (receipts: readonly Receipt[]): string =>
  table(
    ['query', 'when', 'outcome', 'charged units'],
    receipts.map(({ queryId, atMs, outcome, spend }) => [
      queryId,
      new Date(atMs).toISOString(),
      outcome,
      spend,
    ]),
  );

export const registerReceipts = (agent: Command): void => {
  withTarget(
    agent
      .command('receipts')
      .description(
        'receipts of another site for the questions asked here; that site restores its ledger with them',
      ),
    'agent',
  )
    .requiredOption('--site <SITE>', 'whose receipts')
    .option('--out <FILE>', 'write them, one JSON object a line, for "qfl agent ledger restore --from FILE"')
    .action((options: TargetOptions & { site: string; out?: string }) =>
      run(async () => {
        const receipts = await fetchReceipts(options, options.site);
        if (options.out !== undefined) {
          await writeFile(options.out, receipts.map((one) => `${JSON.stringify(one)}\n`).join(''), {
            mode: 0o600,
          });
          return note(`${receipts.length} receipts of ${options.site} written to ${options.out}`);
        }
        if (options.json === true) return printJson(receipts);
        say(receipts.length === 0 ? `No receipts of ${options.site} here.` : show(receipts));
      }, options.json ?? false),
    );
};
