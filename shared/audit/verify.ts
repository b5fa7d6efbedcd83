/**
 * Verifies an audit export offline: no network, no store, no trust in whoever made it. Every byte of the file is covered: the
 * archive's own by its one spelling, the manifest by its signature, the files by the manifest, the entries by the root
 * that their log signed.
 */
import { createHash, hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { QflError, toQflError } from '../errors.ts';
import { parseCanonical } from './canonical.ts';
import { Manifest, MANIFEST_FILE, MANIFEST_NOTE_FILE, manifestNoteText } from './export-format.ts';
import { openNote, parseVerifierKey, type VerifierKey } from './note.ts';
import { readTar, TarFault, type TarMember } from './tar.ts';
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
  /** Who signed the whole: a key the caller trusts, or only the key that the file itself carries. */
  readonly manifestKey: 'trusted' | 'embedded' | undefined;
  /** Plain sentences about what the result does not say. */
  readonly notices: readonly string[];
}

export interface VerifyOptions {
  /** Verifier keys got by another way than this file. With any, everything has to be signed by one of them. */
  readonly trustedKeys?: readonly string[];
}

const MANIFEST_BYTES_MAX = 16 * 1024 * 1024;
const NOTE_BYTES_MAX = 64 * 1024;

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
  readonly #trusted: readonly VerifierKey[];
  manifest: Manifest | undefined;
  manifestKey: 'trusted' | 'embedded' | undefined;

  constructor(trusted: readonly VerifierKey[]) {
    this.#trusted = trusted;
  }

  async run(source: AsyncIterable<Uint8Array>): Promise<void> {
    const members = readTar(source)[Symbol.asyncIterator]();
    const manifest = await this.#readManifest(members);
    let log: LogVerifier | undefined;
    for (const file of manifest.files) {
      const member = await nextMember(members, file.path);
      if (member.bytes !== file.bytes) stop('tampered', 'is not as long as the manifest says', file.path);
      log = this.#logOf(manifest, file.path, log);
      await this.#readFile(member, file.sha256, log);
    }
    if (log !== undefined) this.#finish(log);
    const { value, done } = await members.next();
    if (done !== true) stop('tampered', 'is not in the manifest', value.name);
    this.#checkAllLogsPresent(manifest);
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
      this.manifestKey = this.#trusted.some(({ text }) => text === manifest.signer) ? 'trusted' : 'embedded';
      return manifest;
    } catch (error) {
      if (error instanceof Stop) throw error;
      return stop('tampered', `does not read or is not signed: ${reason(error)}`, MANIFEST_FILE);
    }
  }

  #logOf(manifest: Manifest, path: string, current: LogVerifier | undefined): LogVerifier | undefined {
    const name = path.split('/')[0];
    if (!path.includes('/') || name === current?.name) return current;
    if (current !== undefined) this.#finish(current);
    const described = manifest.logs.find((log) => log.name === name);
    if (described === undefined) return stop('tampered', 'belongs to no log of the manifest', path);
    return new LogVerifier(described, this.#trusted);
  }

  async #readFile(member: TarMember, sha256: string, log: LogVerifier | undefined): Promise<void> {
    const digest = createHash('sha256');
    const sink = member.name.includes('/') ? log?.sink(member) : undefined;
    for await (const piece of member.content) {
      digest.update(piece);
      sink?.(piece);
    }
    if (digest.digest('hex') !== sha256) {
      this.findings.push({
        outcome: 'tampered',
        file: member.name,
        message: 'is not what the manifest lists',
      });
    }
  }

  #finish(log: LogVerifier): void {
    const { findings, result } = log.finish();
    this.findings.push(...findings);
    this.logs.push(result);
  }

  #checkAllLogsPresent(manifest: Manifest): void {
    for (const { name } of manifest.logs) {
      const times = this.logs.filter((log) => log.name === name).length;
      if (times === 1) continue;
      const outcome = times === 0 ? 'incomplete' : 'tampered';
      this.findings.push({ outcome, log: name, message: `is in the file ${times} times` });
    }
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
      notices: this.#notices(),
    };
  }

  #policyFindings(): Finding[] {
    if (this.#trusted.length === 0) return [];
    const message = 'is signed only by a key that the file itself carries, not by one you trust';
    const policy = (where: { file?: string; log?: string }): Finding => ({
      outcome: 'policy_not_met',
      message,
      ...where,
    });
    return [
      ...(this.manifestKey === 'embedded' ? [policy({ file: MANIFEST_FILE })] : []),
      ...this.logs.filter(({ key }) => key === 'embedded').map(({ name }) => policy({ log: name })),
    ];
  }

  #notices(): string[] {
    if (this.#trusted.length > 0) return [];
    return [
      'No trusted keys were given: the signatures were checked with the keys inside the file. The file agrees with itself; ' +
        'whether these are the keys of the hospitals has to be compared by another way.',
    ];
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

/**
 * Checks an export (path or bytes). What is wrong with the file is in the report; only a file that cannot be read, or a
 * trusted key that is none, throws.
 * @throws QflError `storage_failed`, `config_invalid`
 */
export const verifyExport = async (
  source: string | AsyncIterable<Uint8Array>,
  options: VerifyOptions = {},
): Promise<VerifyReport> => {
  const verifier = new ExportVerifier((options.trustedKeys ?? []).map(trustedKey));
  const input = typeof source === 'string' ? readingFile(source) : source;
  try {
    await verifier.run(input);
  } catch (error) {
    verifier.findings.push(findingOf(error));
  }
  return verifier.report();
};

const trustedKey = (text: string): VerifierKey => {
  try {
    return parseVerifierKey(text);
  } catch (cause) {
    const { detail } = toQflError(cause);
    throw new QflError('config_invalid', { detail: `a trusted key does not read: ${detail}`, cause });
  }
};

async function* readingFile(file: string): AsyncIterable<Uint8Array> {
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
      if (chunk instanceof Uint8Array) yield chunk;
    }
  } catch (cause) {
    throw new QflError('storage_failed', { detail: `${file} could not be read`, cause });
  }
}
