/** Verifies the files of one log of an export as they stream by. */
import { fromUtf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { type Checkpoint, openCheckpoint } from './checkpoint.ts';
import { decodeEntry } from './entry.ts';
import { ENTRY_LINE_BYTES_MAX, INDEX_HASH_BYTES, type Manifest } from './export-format.ts';
import { CompactRange, leafHash } from './merkle.ts';
import { parseVerifierKey, strictBase64, type VerifierKey } from './note.ts';
import type { TarMember } from './tar.ts';
import type { Finding } from './verify.ts';

const SMALL_FILE_BYTES_MAX = 1024 * 1024;

export interface VerifiedLog {
  readonly name: string;
  readonly origin: string;
  /** Entries found in the file. */
  readonly size: number;
  /** Root computed from them. */
  readonly root: Uint8Array;
  /** Whose key signed the checkpoint: the caller's, only the file's own, or none. */
  readonly key: 'trusted' | 'embedded' | 'none';
}

type LogDescription = Manifest['logs'][number];

export class LogVerifier {
  readonly name: string;
  readonly #described: LogDescription;
  readonly #trusted: readonly VerifierKey[];
  readonly #findings: Finding[] = [];
  readonly #files = new Map<string, Buffer[]>();
  readonly #range = new CompactRange();
  #line: Uint8Array[] = [];
  #lineBytes = 0;
  #index: Buffer | undefined;
  /** One finding about entries is enough: it names the first. */
  #entriesJudged = false;

  constructor(described: LogDescription, trusted: readonly VerifierKey[]) {
    this.name = described.name;
    this.#described = described;
    this.#trusted = trusted;
  }

  /** Where the content of `member` goes. */
  sink(member: TarMember): (piece: Uint8Array) => void {
    const file = member.name.slice(this.name.length + 1);
    if (this.#files.has(file)) this.#tampered(`${member.name} is there twice`);
    const pieces: Buffer[] = [];
    this.#files.set(file, pieces);
    if (file === 'entries.ndjson') return (piece) => this.#takeLines(piece);
    const bytesMax = file === 'index' ? this.#described.size * INDEX_HASH_BYTES : SMALL_FILE_BYTES_MAX;
    if (member.bytes <= bytesMax) return (piece) => pieces.push(Buffer.from(piece));
    this.#tampered(`${member.name} is too long`);
    return () => undefined;
  }

  finish(): { readonly findings: readonly Finding[]; readonly result: VerifiedLog } {
    if (this.#lineBytes > 0) this.#judgeEntries('its last line has no end', this.#range.size);
    const opened = this.#openCheckpoint();
    if (opened !== undefined) this.#compare(opened.checkpoint);
    const result = {
      name: this.name,
      origin: this.#described.origin,
      size: this.#range.size,
      root: this.#range.root(),
      key: opened?.key ?? 'none',
    } as const;
    return { findings: this.#findings, result };
  }

  #file(name: string): Buffer | undefined {
    const pieces = this.#files.get(name);
    return pieces === undefined ? undefined : Buffer.concat(pieces);
  }

  #takeLines(piece: Uint8Array): void {
    let begin = 0;
    for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, begin)) {
      this.#takeLine(this.#joinLine(piece.subarray(begin, end)));
      begin = end + 1;
    }
    const rest = piece.subarray(begin);
    this.#lineBytes += rest.byteLength;
    if (this.#lineBytes <= ENTRY_LINE_BYTES_MAX) this.#line.push(Buffer.from(rest));
    else this.#judgeEntries('a line is too long', this.#range.size);
  }

  #joinLine(last: Uint8Array): Uint8Array {
    if (this.#lineBytes === 0) return last;
    const line = Buffer.concat([...this.#line, last]);
    this.#line = [];
    this.#lineBytes = 0;
    return line;
  }

  #takeLine(line: Uint8Array): void {
    const index = this.#range.size;
    try {
      const leaf = this.#described.kind === 'audit' ? line : strictBase64(fromUtf8(line));
      const hash = leafHash(leaf);
      this.#range.append(hash);
      if (!this.#matchesIndex(index, hash)) this.#judgeEntries('is not the entry that was logged', index);
      if (this.#described.kind === 'audit' && decodeEntry(leaf).counter !== index) {
        this.#judgeEntries('breaks the gap-free counter', index);
      }
    } catch (error) {
      this.#judgeEntries(error instanceof QflError ? (error.detail ?? error.title) : 'does not read', index);
    }
  }

  #matchesIndex(index: number, hash: Uint8Array): boolean {
    this.#index ??= this.#file('index') ?? Buffer.alloc(0);
    const begin = index * INDEX_HASH_BYTES;
    const kept = this.#index.subarray(begin, begin + INDEX_HASH_BYTES);
    return kept.equals(hash.subarray(0, INDEX_HASH_BYTES));
  }

  #openCheckpoint(): { readonly checkpoint: Checkpoint; readonly key: 'trusted' | 'embedded' } | undefined {
    const note = this.#file('checkpoint');
    const keys = this.#file('keys');
    if (
      note === undefined ||
      keys === undefined ||
      !this.#files.has('index') ||
      !this.#files.has('entries.ndjson')
    ) {
      this.#findings.push({
        outcome: 'incomplete',
        log: this.name,
        message: 'files of this log are missing',
      });
      return undefined;
    }
    try {
      const embedded = fromUtf8(keys).split('\n').slice(0, -1).map(parseVerifierKey);
      const { checkpoint, note: opened } = openCheckpoint(note, embedded);
      // A log's checkpoint is signed under the log's own name; another log's key proves nothing about this one.
      const own = opened.signedBy.filter((key) => key.name === checkpoint.origin);
      if (own.length === 0) return this.#tampered('its checkpoint is not signed under its own name');
      const isTrusted = own.some((key) => this.#trusted.some(({ text }) => text === key.text));
      return { checkpoint, key: isTrusted ? 'trusted' : 'embedded' };
    } catch (error) {
      const why = error instanceof QflError ? error.message : 'malformed';
      return this.#tampered(`its checkpoint or keys do not hold: ${why}`);
    }
  }

  #compare({ origin, size, root }: Checkpoint): void {
    if (origin !== this.#described.origin || size !== this.#described.size) {
      this.#tampered('its checkpoint is not the one the manifest describes');
    }
    const found = this.#range.size;
    if (found < size && !this.#entriesJudged) {
      const message = `${size - found} of ${size} entries are missing`;
      this.#findings.push({ outcome: 'incomplete', log: this.name, index: found, message });
    } else if (found > size) {
      this.#judgeEntries('stands after the last entry of the checkpoint', size);
    } else if (Buffer.compare(this.#range.root(), root) !== 0) {
      this.#tampered('its entries do not give the root of its checkpoint');
    }
  }

  #judgeEntries(message: string, index: number): void {
    if (this.#entriesJudged) return;
    this.#entriesJudged = true;
    this.#findings.push({ outcome: 'tampered', log: this.name, index, message });
  }

  #tampered(message: string): undefined {
    this.#findings.push({ outcome: 'tampered', log: this.name, message });
    return undefined;
  }
}
