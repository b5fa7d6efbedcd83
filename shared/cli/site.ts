/** `qfl site …`: invite, list, approve and revoke sites at the coordinator. */
import type { Command } from 'commander';
import type { z } from 'zod';
import type { SiteShown } from '../wire/admin.ts';
import { type TargetOptions, withTarget } from './connect.ts';
import { withCoordinator } from './coordinator.ts';
import { ago, printJson, run, say, table } from './output.ts';

const siteRow = (site: z.infer<typeof SiteShown>, nowMs: number): string[] => [
  site.site,
  site.status,
  site.online ? `online ${site.connectedMs === null ? '' : ago(nowMs - site.connectedMs)}`.trim() : 'offline',
  site.fingerprint,
  site.models === null
    ? '–'
    : site.models.map(({ id, inFlight, slots }) => `${id} ${inFlight}/${slots}`).join(', '),
  site.budgetTenths === null ? '–' : `≥ ${site.budgetTenths * 10} %`,
];

export const registerSite = (program: Command): void => {
  const site = program.command('site').description('sites of the federation, at its coordinator');
  withTarget(
    site.command('invite <NAME>').description('make a one-time token (24 h) for a hospital to join with'),
    'coordinator',
  )
    .option('--auto-approve', 'the site needs no "qfl site approve"')
    .action((name: string, options: TargetOptions & { autoApprove?: boolean }) =>
      run(async () => {
        const made = await withCoordinator(options, ({ invitations }) =>
          invitations.create({ body: { site: name, autoApprove: options.autoApprove ?? false } }),
        );
        if (options.json === true) return printJson(made);
        say(
          `Invitation for ${made.site}, valid once, until ${new Date(made.expiresMs).toISOString()}:\n\n  ${made.token}\n`,
        );
        say('Give it to the hospital by a safe way. There:  qfl agent join URL --token TOKEN --start');
        if (!made.autoApprove)
          say(`Then compare fingerprints by telephone and run here:  qfl site approve ${made.site}`);
      }, options.json ?? false),
    );
  withTarget(
    site.command('list').description('sites, their state, fingerprints and models'),
    'coordinator',
  ).action((options: TargetOptions) =>
    run(async () => {
      const { sites } = await withCoordinator(options, (coordinator) => coordinator.sites.list());
      if (options.json === true) return printJson(sites);
      if (sites.length === 0) return say('No sites yet. Invite one with "qfl site invite NAME".');
      say(
        table(
          ['site', 'status', 'link', 'fingerprint', 'models (busy/slots)', 'budget left'],
          sites.map((one) => siteRow(one, Date.now())),
        ),
      );
    }, options.json ?? false),
  );
  withTarget(
    site.command('approve <NAME>').description('let a site in after comparing fingerprints'),
    'coordinator',
  )
    .option('--fingerprint <PHRASE>', 'what the hospital read to you; refused when it is not the same')
    .action((name: string, options: TargetOptions & { fingerprint?: string }) =>
      run(async () => {
        const body = options.fingerprint === undefined ? {} : { fingerprint: options.fingerprint };
        const shown = await withCoordinator(options, ({ sites }) =>
          sites.approve({ params: { site: name }, body }),
        );
        if (options.json === true) return printJson(shown);
        say(`${shown.site} is approved. Its fingerprint: ${shown.fingerprint}`);
      }, options.json ?? false),
    );
  withTarget(
    site
      .command('revoke <NAME>')
      .description("end a site's sessions and take its keys out of force, for good"),
    'coordinator',
  )
    .option('--reason <TEXT>', 'kept in the directory')
    .action((name: string, options: TargetOptions & { reason?: string }) =>
      run(async () => {
        const body = options.reason === undefined ? {} : { reason: options.reason };
        const shown = await withCoordinator(options, ({ sites }) =>
          sites.revoke({ params: { site: name }, body }),
        );
        if (options.json === true) return printJson(shown);
        say(`${shown.site} is revoked; its sessions are closed.`);
      }, options.json ?? false),
    );
};
