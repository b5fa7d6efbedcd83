/** What `qfl audit verify` and `qfl-verify` do: read the files that are named, verify, say it in words. */
import { readFile } from 'node:fs/promises';
import { fromUtf8 } from '../../bytes.ts';
import { QflError } from '../../errors.ts';
import { openSource } from './source.ts';
import { type VerifyReport, verifyExport } from './verify.ts';

export interface VerifyCommand {
  readonly policy?: string | undefined;
  readonly trust?: readonly string[] | undefined;
  readonly since?: string | undefined;
  readonly identity?: string | undefined;
  readonly progress?: (bytesDone: number) => void;
}

const textOf = async (file: string | undefined): Promise<string | undefined> => {
  if (file === undefined) return undefined;
  try {
    return fromUtf8(await readFile(file));
  } catch (cause) {
    throw new QflError('storage_failed', { detail: `${file} could not be read`, cause });
  }
};

/** @throws QflError `storage_failed`, `config_invalid`, `invalid_request`, `unknown_key` */
export const verifyFile = async (file: string, command: VerifyCommand): Promise<VerifyReport> =>
  verifyExport(await openSource(file, command.identity), {
    policy: await textOf(command.policy),
    trustedKeys: command.trust,
    since: await textOf(command.since),
    ...(command.progress === undefined ? {} : { progress: command.progress }),
  });

const at = (timeMs: number): string => new Date(timeMs).toISOString();
const periodText = ({ fromMs, toMs }: { fromMs: number | null; toMs: number | null }): string =>
  `${fromMs === null ? 'the beginning' : at(fromMs)} – ${toMs === null ? 'the export' : at(toMs)}`;

export const findingText = ({ message, file, log, index }: VerifyReport['findings'][number]): string =>
  `FOUND: ${[file ?? log, index === undefined ? undefined : `entry ${index}`].filter((part) => part !== undefined).join(', ')}: ${message}`;

/** Lines above the table of logs. */
export const headText = ({ outcome, manifest }: VerifyReport): string[] => [
  `Result: ${outcome.replaceAll('_', ' ')}`,
  ...(manifest === undefined
    ? []
    : [
        `Federation ${manifest.federation}, exported ${at(manifest.createdMs)}, ground: ${manifest.ground}`,
        `Period: ${periodText(manifest.period)}${Object.keys(manifest.filter).length === 0 ? '' : `; filter: ${JSON.stringify(manifest.filter)}`}`,
      ]),
];

export const nextText = ({ outcome, manifestKey }: VerifyReport): string[] =>
  outcome === 'policy_not_met' && manifestKey === 'embedded'
    ? [
        'next:  get the policy from a hospital, not from who made the file: "qfl audit policy --home AGENT-HOME --out policy.txt"; then add --policy policy.txt',
      ]
    : [];

export const logRow = (log: VerifyReport['logs'][number]): string[] => [
  log.name,
  `${log.entries}${log.entries === log.size ? '' : ` of ${log.size}`}`,
  log.key,
  log.cosignedBy.join(', ') || '–',
];
export const LOG_HEAD = ['log', 'entries', 'key', 'cosigned by'] as const;
