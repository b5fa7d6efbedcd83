/** Verifies the files of one log of an export as they stream by. */
import { fromUtf8, toHex } from '../../bytes.ts';
import { QflError } from '../../errors.ts';
import { strictBase64 } from '../base64.ts';
import type { Checkpoint } from '../checkpoint-text.ts';
import { leafFacts } from '../entry-pattern.ts';
import { INDEX_HASH_BYTES, type LogDescription } from '../export-format.ts';
import { CompactRange, HASH_BYTES, leafHash, popCount, subtreeLevels } from '../merkle.ts';
import { verifyConsistency } from '../merkle-verify.ts';
import { keysOfOrigin } from '../origin.ts';
import type { Policy } from '../policy.ts';
import type { TarMember } from '../tar.ts';
import { cosigners, policyFault, readSigned, type SignedCheckpoint } from './signatures.ts';
import type { Finding } from './verify.ts';

const SMALL_FILE_BYTES_MAX = 4 * 1024 * 1024;
const QUOTE = 0x22;

export interface VerifiedLog {
  readonly name: string;
  readonly origin: string;
  /** Of its checkpoint. */
  readonly size: number;
  /** Entries [first, end) were found, `entries` of them in full. */
  readonly first: number;
  readonly end: number;
  readonly entries: number;
  /** Root computed from them and the proof, hex. */
  readonly root: string | null;
  /** Whose key signed the checkpoint: one of the caller's policy, only of the file's own, or none. */
  readonly key: 'trusted' | 'embedded' | 'none';
  /** Hospitals that cosigned it, by the policy that counts. */
  readonly cosignedBy: readonly string[];
}

export interface Policies {
  readonly embedded: Policy;
  readonly trusted: Policy | undefined;
  /** A checkpoint that the caller held before. */
  readonly since: Checkpoint | undefined;
}

/** Lines of a `proof`: `left HASH` and `right HASH`. @throws QflError */
const parseProof = (text: string): Record<'left' | 'right', Uint8Array[]> => {
  const sides: Record<'left' | 'right', Uint8Array[]> = { left: [], right: [] };
  for (const line of text.split('\n').slice(0, -1)) {
    const [, side, encoded = ''] = /^(left|right) (\S+)$/.exec(line) ?? [];
    const bytes = strictBase64(encoded);
    if ((side !== 'left' && side !== 'right') || bytes.byteLength !== HASH_BYTES)
      throw new QflError('protocol', { detail: 'a line of a proof is "left HASH" or "right HASH"' });
    sides[side].push(bytes);
  }
  return sides;
};

export class LogVerifier {
  readonly name: string;
  readonly #described: LogDescription;
  readonly #policies: Policies;
  readonly #findings: Finding[] = [];
  readonly #files = new Map<string, Buffer[]>();
  #range: CompactRange | undefined;
  #right: readonly Uint8Array[] = [];
  #index: Buffer = Buffer.alloc(0);
  #entries = 0;
  /** Where the entries of the file end. */
  #end: number | undefined;
  /** One finding about entries is enough: it names the first. */
  #entriesJudged = false;

  constructor(described: LogDescription, policies: Policies) {
    this.name = described.name;
    this.#described = described;
    this.#policies = policies;
  }

  /** Where the content of `member` goes: lines of the entries, pieces of the rest. */
  sink(member: TarMember): {
    readonly piece?: (piece: Uint8Array) => void;
    readonly line?: (line: Uint8Array) => void;
  } {
    const file = member.name.slice(this.name.length + 1);
    if (this.#files.has(file)) this.#tampered(`${member.name} is there twice`);
    const pieces: Buffer[] = [];
    this.#files.set(file, pieces);
    if (file === 'entries.ndjson') {
      this.#begin();
      return { line: (line) => this.#takeLine(line) };
    }
    const { first, end } = this.#described;
    const bytesMax = file === 'index' ? (end - first) * INDEX_HASH_BYTES : SMALL_FILE_BYTES_MAX;
    if (member.bytes <= bytesMax) return { piece: (piece) => pieces.push(Buffer.from(piece)) };
    this.#tampered(`${member.name} is too long`);
    return {};
  }

  finish(): { readonly findings: readonly Finding[]; readonly result: VerifiedLog } {
    const signed = this.#openCheckpoint();
    const root = signed === undefined ? undefined : this.#compare(signed.checkpoint);
    if (signed !== undefined) this.#checkConsistency(signed.checkpoint);
    const { origin, size, first } = this.#described;
    const { embedded, trusted } = this.#policies;
    const isTrusted = signed !== undefined && trusted !== undefined && this.#isTrusted(trusted, signed);
    const result: VerifiedLog = {
      name: this.name,
      origin,
      size,
      first,
      end: this.#end ?? first,
      entries: this.#entries,
      root: root === undefined ? null : toHex(root),
      key: signed === undefined ? 'none' : isTrusted ? 'trusted' : 'embedded',
      cosignedBy: signed === undefined ? [] : cosigners(trusted ?? embedded, signed),
    };
    return { findings: this.#findings, result };
  }

  #file(name: string): Buffer | undefined {
    const pieces = this.#files.get(name);
    return pieces === undefined ? undefined : Buffer.concat(pieces);
  }

  /** The proof and the index stand before the entries. */
  #begin(): void {
    const { first, end, size } = this.#described;
    this.#index = this.#file('index') ?? Buffer.alloc(0);
    const proof = this.#file('proof');
    if (proof === undefined) return;
    try {
      const { left, right } = parseProof(fromUtf8(proof));
      const fits = left.length === popCount(first) && right.length === subtreeLevels(end, size).length;
      if (first > end || end > size || !fits)
        throw new QflError('protocol', { detail: 'it has a wrong number of hashes' });
      this.#range = CompactRange.from(first, left);
      this.#right = right;
    } catch (error) {
      this.#tampered(`its proof does not read: ${error instanceof QflError ? error.message : 'malformed'}`);
    }
  }

  #takeLine(line: Uint8Array): void {
    const range = this.#range;
    if (range === undefined) return;
    const index = range.size;
    try {
      const hashed = line[0] === QUOTE ? this.#quotedHash(line) : this.#entryHash(line, index);
      range.append(hashed);
      const begin = (index - this.#described.first) * INDEX_HASH_BYTES;
      if (this.#index.compare(hashed, 0, INDEX_HASH_BYTES, begin, begin + INDEX_HASH_BYTES) !== 0)
        this.#judgeEntries('is not the entry that was logged', index);
    } catch (error) {
      this.#judgeEntries(error instanceof QflError ? (error.detail ?? error.title) : 'does not read', index);
    }
  }

  /** Of an audit log: the hash of an entry that was left out. Of another log: the leaf. */
  #quotedHash(line: Uint8Array): Uint8Array {
    if (line.at(-1) !== QUOTE || line.byteLength < 2)
      throw new QflError('protocol', { detail: 'is cut short' });
    const bytes = strictBase64(fromUtf8(line.subarray(1, -1)));
    if (this.#described.kind === 'opaque') {
      this.#entries += 1;
      return leafHash(bytes);
    }
    if (bytes.byteLength !== HASH_BYTES) throw new QflError('protocol', { detail: 'is no hash of an entry' });
    return bytes;
  }

  #entryHash(line: Uint8Array, index: number): Uint8Array {
    const facts = leafFacts(line);
    if (this.#described.kind === 'opaque' || facts === undefined)
      throw new QflError('protocol', { detail: 'is not spelt as an entry' });
    if (facts.counter !== index) this.#judgeEntries('breaks the gap-free counter', index);
    this.#entries += 1;
    return leafHash(line);
  }

  #openCheckpoint(): SignedCheckpoint | undefined {
    const note = this.#file('checkpoint');
    if (note === undefined || !['proof', 'index', 'entries.ndjson'].every((file) => this.#files.has(file))) {
      this.#findings.push({
        outcome: 'incomplete',
        log: this.name,
        message: 'files of this log are missing',
      });
      return undefined;
    }
    const { embedded, trusted } = this.#policies;
    try {
      const signed = readSigned(note, trusted === undefined ? [embedded] : [embedded, trusted]);
      const own = keysOfOrigin(embedded.logs, signed.checkpoint.origin);
      // A log's checkpoint is signed under the log's own name; another log's key proves nothing about this one.
      if (own.length === 0 || !own.every(({ text }) => signed.holds.has(text)))
        return this.#tampered('its checkpoint is not signed with the keys that policy.txt names for it');
      if (signed.broken.size > 0) this.#tampered('its checkpoint carries a signature that does not hold');
      return signed;
    } catch (error) {
      return this.#tampered(
        `its checkpoint does not hold: ${error instanceof QflError ? error.message : 'malformed'}`,
      );
    }
  }

  #isTrusted(policy: Policy, signed: SignedCheckpoint): boolean {
    const message = policyFault(policy, signed);
    if (message !== undefined) this.#findings.push({ outcome: 'policy_not_met', log: this.name, message });
    return keysOfOrigin(policy.logs, signed.checkpoint.origin).some(({ text }) => signed.holds.has(text));
  }

  /** The root that proof and entries give; undefined when they do not come to an end. */
  #compare({ origin, size, root }: Checkpoint): Uint8Array | undefined {
    const { end, entries } = this.#described;
    if (origin !== this.#described.origin || size !== this.#described.size)
      this.#tampered('its checkpoint is not the one the manifest describes');
    const range = this.#range;
    if (range === undefined) return undefined;
    const found = range.size;
    this.#end = found;
    if (found < end && !this.#entriesJudged) {
      const message = `${end - found} of its entries are missing`;
      this.#findings.push({ outcome: 'incomplete', log: this.name, index: found, message });
    }
    if (found > end) this.#judgeEntries('stands after the last entry of the export', end);
    if (found !== end || this.#entriesJudged) return undefined;
    if (this.#entries !== entries) this.#tampered(`holds ${this.#entries} entries in full, not ${entries}`);
    for (const [at, level] of subtreeLevels(end, size).entries())
      range.appendSubtree(level, this.#right[at]!);
    const computed = range.root();
    if (Buffer.compare(computed, root) !== 0)
      this.#tampered('its entries do not give the root of its checkpoint');
    return computed;
  }

  #checkConsistency({ origin, size, root }: Checkpoint): void {
    const { since } = this.#policies;
    const asked = since?.origin === origin ? since : undefined;
    const file = this.#file('consistency');
    if (file === undefined) {
      if (asked === undefined || (asked.size === size && Buffer.compare(asked.root, root) === 0)) return;
      const message = `has no proof that it only grew since your checkpoint of ${asked.size} entries: export with --since`;
      this.#findings.push({ outcome: 'incomplete', log: this.name, message });
      return;
    }
    try {
      const [oldText = '', rootText = '', ...path] = fromUtf8(file).split('\n').slice(0, -1);
      const claim = {
        oldSize: Number(oldText),
        oldRoot: strictBase64(rootText),
        newSize: size,
        newRoot: root,
      };
      const grew = verifyConsistency({ ...claim, path: path.map(strictBase64) });
      const isAsked =
        asked === undefined ||
        (asked.size === claim.oldSize && Buffer.compare(asked.root, claim.oldRoot) === 0);
      if (!grew || !isAsked) this.#tampered('is not a continuation of the checkpoint that was held before');
    } catch {
      this.#tampered('its proof of consistency does not read');
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
