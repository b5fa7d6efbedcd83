/**
 * Verifies an audit export offline: no network, no store, no trust in whoever made it. Every byte of the file is covered: the
 * archive's own by its one spelling, the manifest by its signature, the files by the manifest, the entries by the root
 * that their log signed, the signatures by a policy that came another way.
 */
import { createHash, hash } from 'node:crypto';
import { fromUtf8, toHex } from '../../bytes.ts';
import { QflError, toQflError } from '../../errors.ts';
import { parseCanonical } from '../canonical.ts';
import { readCheckpoint } from '../checkpoint.ts';
import {
  ENTRY_LINE_BYTES_MAX,
  EVENT_FILES,
  Manifest,
  MANIFEST_FILE,
  MANIFEST_NOTE_FILE,
  manifestNoteText,
  POLICY_FILE,
} from '../export-format.ts';
import { openNote, parseVerifierKey } from '../note.ts';
import { parsePolicy, type Policy, POLICY_BYTES_MAX } from '../policy.ts';
import { readTar, TarFault, type TarMember } from '../tar.ts';
import { LineCutter } from './lines.ts';
import { LogVerifier, type VerifiedLog } from './verify-log.ts';

export type VerifyOutcome = 'good' | 'tampered' | 'incomplete' | 'policy_not_met';

/** Documented exit codes of `qfl audit verify`. */
export const VERIFY_EXIT_CODES: Readonly<Record<VerifyOutcome, number>> = {
  good: 0,
  tampered: 2,
  incomplete: 3,
  policy_not_met: 4,
};

export interface Finding {
  readonly outcome: Exclude<VerifyOutcome, 'good'>;
  readonly message: string;
  readonly file?: string;
  readonly log?: string;
  /** Index of the first entry that does not fit. */
  readonly index?: number;
}

export interface VerifyReport {
  readonly outcome: VerifyOutcome;
  readonly exitCode: number;
  readonly findings: readonly Finding[];
  readonly logs: readonly VerifiedLog[];
  readonly manifest: Manifest | undefined;
  /** Who signed the whole: a key of the caller's policy, or only one that the file itself carries. */
  readonly manifestKey: 'trusted' | 'embedded' | undefined;
}

export interface VerifyOptions {
  /** C2SP tlog-policy text got by another way than this file. */
  readonly policy?: string | undefined;
  /** Verifier keys got by another way, where there is no policy: no cosignatures are asked for. */
  readonly trustedKeys?: readonly string[] | undefined;
  /** A checkpoint that the caller held before. */
  readonly since?: string | undefined;
  readonly progress?: (bytesDone: number) => void;
}

const MANIFEST_BYTES_MAX = 16 * 1024 * 1024;
const NOTE_BYTES_MAX = 64 * 1024;
/** Before `policy.txt` was read. */
const NOBODY: Policy = { logs: [], witnesses: new Map(), groups: new Map(), quorum: 'none' };

/** Ends the verification: nothing after it can be judged. */
class Stop extends Error {
  readonly finding: Finding;
  constructor(finding: Finding) {
    super(finding.message);
    this.name = 'Stop';
    this.finding = finding;
  }
}

const stop = (outcome: Finding['outcome'], message: string, file?: string): never => {
  throw new Stop({ outcome, message, ...(file === undefined ? {} : { file }) });
};

const readWhole = async (member: TarMember, bytesMax: number): Promise<Buffer> => {
  if (member.bytes > bytesMax) return stop('tampered', `larger than ${bytesMax} bytes`, member.name);
  const pieces: Uint8Array[] = [];
  for await (const piece of member.content) pieces.push(piece);
  return Buffer.concat(pieces);
};

const nextMember = async (members: AsyncIterator<TarMember>, expected: string): Promise<TarMember> => {
  const { value, done } = await members.next();
  if (done === true) return stop('incomplete', 'missing', expected);
  if (value.name !== expected) return stop('tampered', `stands where ${expected} belongs`, value.name);
  return value;
};

class ExportVerifier {
  readonly findings: Finding[] = [];
  readonly logs: VerifiedLog[] = [];
  readonly #trusted: Policy | undefined;
  readonly #since: ReturnType<typeof readCheckpoint> | undefined;
  readonly #rows = new Map<string, number>();
  #embedded: Policy = NOBODY;
  manifest: Manifest | undefined;
  manifestKey: 'trusted' | 'embedded' | undefined;

  constructor(trusted: Policy | undefined, since: string | undefined) {
    this.#trusted = trusted;
    this.#since = since === undefined ? undefined : readCheckpoint(since);
  }

  async run(source: AsyncIterable<Uint8Array>): Promise<void> {
    const members = readTar(source)[Symbol.asyncIterator]();
    const manifest = await this.#readManifest(members);
    let log: LogVerifier | undefined;
    for (const file of manifest.files) {
      const member = await nextMember(members, file.path);
      if (member.bytes !== file.bytes) stop('tampered', 'is not as long as the manifest says', file.path);
      log = this.#logOf(manifest, file.path, log);
      await this.#readFile(member, file, log);
    }
    if (log !== undefined) this.#finish(log);
    const { value, done } = await members.next();
    if (done !== true) stop('tampered', 'is not in the manifest', value.name);
    this.#checkWhole(manifest);
  }

  async #readManifest(members: AsyncIterator<TarMember>): Promise<Manifest> {
    const bytes = await readWhole(await nextMember(members, MANIFEST_FILE), MANIFEST_BYTES_MAX);
    const note = await readWhole(await nextMember(members, MANIFEST_NOTE_FILE), NOTE_BYTES_MAX);
    try {
      const manifest = Manifest.parse(parseCanonical(bytes));
      const opened = openNote(note, [parseVerifierKey(manifest.signer)]);
      if (opened.text !== manifestNoteText(hash('sha256', bytes, 'buffer')) || opened.unknown.length > 0) {
        return stop('tampered', 'is not what its note was signed for', MANIFEST_FILE);
      }
      this.manifest = manifest;
      const isTrusted = this.#trusted?.logs.some(({ text }) => text === manifest.signer) ?? false;
      this.manifestKey = isTrusted ? 'trusted' : 'embedded';
      return manifest;
    } catch (error) {
      if (error instanceof Stop) throw error;
      return stop('tampered', `does not read or is not signed: ${reason(error)}`, MANIFEST_FILE);
    }
  }

  #logOf(manifest: Manifest, path: string, current: LogVerifier | undefined): LogVerifier | undefined {
    const name = path.split('/')[0];
    if (!path.includes('/')) return undefined;
    if (name === current?.name) return current;
    if (current !== undefined) this.#finish(current);
    const described = manifest.logs.find((log) => log.name === name);
    if (described === undefined) return stop('tampered', 'belongs to no log of the manifest', path);
    return new LogVerifier(described, {
      embedded: this.#embedded,
      trusted: this.#trusted,
      since: this.#since,
    });
  }

  async #readFile(
    member: TarMember,
    file: Manifest['files'][number],
    log: LogVerifier | undefined,
  ): Promise<void> {
    const digest = createHash('sha256');
    const { piece: takePiece, line } = log?.sink(member) ?? {};
    const lines = file.rows === null ? undefined : new LineCutter(line, ENTRY_LINE_BYTES_MAX);
    const policy: Uint8Array[] = [];
    const isPolicy = member.name === POLICY_FILE && member.bytes <= POLICY_BYTES_MAX;
    for await (const piece of member.content) {
      digest.update(piece);
      takePiece?.(piece);
      lines?.push(piece);
      if (isPolicy) policy.push(Buffer.from(piece));
    }
    const tampered = (message: string): void =>
      void this.findings.push({ outcome: 'tampered', file: member.name, message });
    if (digest.digest('hex') !== file.sha256) tampered('is not what the manifest lists');
    const rows = lines === undefined ? 0 : lines.lines - (member.name.endsWith('.csv') ? 1 : 0);
    if (lines !== undefined && (rows !== file.rows || !lines.isWhole))
      tampered(`has ${rows} rows, the manifest lists ${file.rows}`);
    this.#rows.set(member.name, rows);
    if (isPolicy) this.#readPolicy(Buffer.concat(policy));
  }

  #readPolicy(bytes: Uint8Array): void {
    try {
      if (toHex(hash('sha256', bytes, 'buffer')) !== this.manifest?.policySha256)
        throw new QflError('protocol', { detail: 'it is not the one that the manifest names' });
      this.#embedded = parsePolicy(fromUtf8(bytes));
    } catch (error) {
      this.findings.push({ outcome: 'tampered', file: POLICY_FILE, message: reason(error) });
    }
  }

  #finish(log: LogVerifier): void {
    const { findings, result } = log.finish();
    this.findings.push(...findings);
    this.logs.push(result);
  }

  /** Every log once, and as many events as entries. */
  #checkWhole(manifest: Manifest): void {
    for (const { name } of manifest.logs) {
      const times = this.logs.filter((log) => log.name === name).length;
      if (times === 1) continue;
      const outcome = times === 0 ? 'incomplete' : 'tampered';
      this.findings.push({ outcome, log: name, message: `is in the file ${times} times` });
    }
    const entries = manifest.logs
      .filter(({ kind }) => kind === 'audit')
      .reduce((sum, log) => sum + log.entries, 0);
    for (const file of EVENT_FILES)
      if ((this.#rows.get(file) ?? entries) !== entries)
        this.findings.push({
          outcome: 'tampered',
          file,
          message: `has not the ${entries} rows of its entries`,
        });
    const { origin } = this.#since ?? {};
    if (origin !== undefined && !manifest.logs.some((log) => log.origin === origin))
      this.findings.push({
        outcome: 'incomplete',
        message: `holds no log ${origin}, of which you have a checkpoint`,
      });
  }

  report(): VerifyReport {
    const findings = [...this.findings, ...this.#policyFindings()];
    const order = ['tampered', 'incomplete', 'policy_not_met'] as const;
    const outcome = order.find((kind) => findings.some((finding) => finding.outcome === kind)) ?? 'good';
    return {
      outcome,
      exitCode: VERIFY_EXIT_CODES[outcome],
      findings,
      logs: this.logs,
      manifest: this.manifest,
      manifestKey: this.manifestKey,
    };
  }

  #policyFindings(): Finding[] {
    const policy = (message: string): Finding[] => [
      { outcome: 'policy_not_met', file: MANIFEST_FILE, message },
    ];
    if (this.#trusted === undefined)
      return policy(
        'signer not authenticated: no policy was given, and the keys inside the file prove only that it agrees with itself',
      );
    return this.manifestKey === 'embedded' ? policy('is not signed by a key that the policy names') : [];
  }
}

const reason = (error: unknown): string => (error instanceof QflError ? error.message : 'malformed');

const findingOf = (error: unknown): Finding => {
  if (error instanceof Stop) return error.finding;
  if (error instanceof TarFault) {
    return { outcome: error.kind === 'cut' ? 'incomplete' : 'tampered', message: error.message };
  }
  throw error;
};

/** @throws QflError `config_invalid` */
const trustedPolicy = ({ policy, trustedKeys }: VerifyOptions): Policy | undefined => {
  try {
    if (policy !== undefined) return parsePolicy(policy);
    if (trustedKeys === undefined) return undefined;
    return { ...NOBODY, logs: trustedKeys.map(parseVerifierKey) };
  } catch (cause) {
    const { detail } = toQflError(cause);
    throw new QflError('config_invalid', {
      detail: `the policy or key to trust does not read: ${detail}`,
      cause,
    });
  }
};

async function* counted(source: AsyncIterable<Uint8Array>, tell: (bytesDone: number) => void) {
  let bytes = 0;
  for await (const piece of source) {
    bytes += piece.byteLength;
    tell(bytes);
    yield piece;
  }
}

/**
 * Checks the bytes of an export. What is wrong with them is in the report; only a source that cannot be read, or a policy or key that is none,
 * throws.
 * @throws QflError `storage_failed`, `config_invalid`
 */
export const verifyExport = async (
  source: AsyncIterable<Uint8Array>,
  options: VerifyOptions = {},
): Promise<VerifyReport> => {
  const verifier = new ExportVerifier(trustedPolicy(options), options.since);
  try {
    await verifier.run(options.progress === undefined ? source : counted(source, options.progress));
  } catch (error) {
    verifier.findings.push(findingOf(error));
  }
  return verifier.report();
};
