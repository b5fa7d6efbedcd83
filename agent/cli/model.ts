/** `qfl agent model …`: trained models at this hospital. */
import type { Command } from 'commander';
import { connect, type TargetOptions, withClient, withTarget } from '../../shared/cli/connect.ts';
import { ago, printJson, run, say, table } from '../../shared/cli/output.ts';
import { QflError } from '../../shared/errors.ts';
import type { HttpClient } from '../../shared/http/client.ts';
import { PulledModel, PulledPage, PullRequest } from '../../shared/wire/pulled-model.ts';

const withAgent = <T>(options: TargetOptions, use: (client: HttpClient) => Promise<T>): Promise<T> =>
  withClient(connect(options, 'agent'), use);
const pathOf = (name: string, version: string): string =>
  `/v1/admin/models/${encodeURIComponent(name)}/${encodeURIComponent(version)}`;

const listText = (models: readonly PulledModel[], nowMs: number): string =>
  table(
    ['model', 'version', 'in use', 'kind', 'bytes', 'fetched', 'digest'],
    models.map(({ name, version, inUse, kind, bytes, pulledMs, digest }) => [
      name,
      String(version),
      inUse ? 'yes' : '–',
      kind,
      String(bytes),
      `${ago(nowMs - pulledMs)} ago`,
      digest.slice(0, 16),
    ]),
  );

const list = (options: TargetOptions): Promise<void> =>
  run(async () => {
    const { models } = await withAgent(options, (client) =>
      client.json('GET', '/v1/admin/models', PulledPage),
    );
    if (options.json === true) return printJson(models);
    if (models.length === 0) return say('No models here yet. Fetch one with "qfl agent model pull NAME".');
    return say(listText(models, Date.now()));
  }, options.json ?? false);

const pull = (name: string, version: string | undefined, options: TargetOptions): Promise<void> =>
  run(async () => {
    const number = version !== undefined && /^\d+$/.test(version) ? Number(version) : version;
    const body = PullRequest.safeParse({ name, ...(number === undefined ? {} : { version: number }) });
    if (!body.success)
      throw new QflError('invalid_request', {
        detail: `"${name} ${version ?? ''}" names no version of a model`,
        next: 'Give a name, and its number, or latest, production or staging.',
      });
    const model = await withAgent(options, (client) =>
      client.json('POST', '/v1/admin/models', PulledModel, { body: body.data }),
    );
    if (options.json === true) return printJson(model);
    return say(
      `${model.name} ${model.version} is here and in use: ${model.bytes} bytes, digest and both signatures checked.`,
    );
  }, options.json ?? false);

const verify = (name: string, version: string, options: TargetOptions): Promise<void> =>
  run(async () => {
    const model = await withAgent(options, (client) =>
      client.json('POST', `${pathOf(name, version)}/verify`, PulledModel),
    );
    if (options.json === true) return printJson(model);
    return say(`${model.name} ${model.version}: both signatures hold, and the file is the one they are of.`);
  }, options.json ?? false);

const remove = (name: string, version: string, options: TargetOptions): Promise<void> =>
  run(async () => {
    const gone = await withAgent(options, (client) =>
      client.json('DELETE', pathOf(name, version), PulledModel),
    );
    return options.json === true ? printJson(gone) : say(`${gone.name} ${gone.version} is removed.`);
  }, options.json ?? false);

export const registerSiteModel = (agent: Command): void => {
  const model = agent.command('model').description('trained models at this hospital');
  withTarget(model.command('list').description('models that were fetched here'), 'agent').action(list);
  withTarget(
    model
      .command('pull <NAME> [VERSION]')
      .description('fetch a version, the one in production when left out; it is in use from then on'),
    'agent',
  ).action(pull);
  withTarget(
    model
      .command('verify <NAME> <VERSION>')
      .description('check signatures and digest of what is on the disk'),
    'agent',
  ).action(verify);
  withTarget(model.command('remove <NAME> <VERSION>').description('remove a version'), 'agent').action(
    remove,
  );
};
