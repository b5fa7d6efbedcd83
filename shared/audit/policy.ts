/**
 * Trust policies, C2SP tlog-policy: which logs, which witnesses, and how many of them make a checkpoint count. The same file is written
 * for auditors, shipped with every export, and read by whoever verifies offline.
 */
import { QflError } from '../errors.ts';
import {
  KEY_TYPE_COSIGNATURE,
  KEY_TYPE_MLDSA44,
  parseVerifierKey,
  type VerifierKey,
} from './verifier-key.ts';

export interface PolicyGroup {
  readonly name: string;
  /** How many of the members. */
  readonly threshold: number;
  readonly members: readonly string[];
}

export interface Policy {
  readonly logs: readonly VerifierKey[];
  readonly witnesses: ReadonlyMap<string, VerifierKey>;
  /** In order: a group names only witnesses and groups before it. */
  readonly groups: ReadonlyMap<string, PolicyGroup>;
  /** A witness, a group, or `none`. */
  readonly quorum: string;
}

const NO_QUORUM = 'none';
const ITEMS_MAX = 10_000;
export const POLICY_BYTES_MAX = 16 * 1024 * 1024;

const malformed = (line: number, detail: string): never => {
  throw new QflError('protocol', { detail: `trust policy, line ${line}: ${detail}` });
};

const thresholdOf = (text: string, members: number): number => {
  if (text === 'all') return members;
  if (text === 'any') return 1;
  return /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : 0;
};

class Reader {
  readonly logs: VerifierKey[] = [];
  readonly witnesses = new Map<string, VerifierKey>();
  readonly groups = new Map<string, PolicyGroup>();
  readonly #grouped = new Set<string>();
  quorum: string | undefined;

  read(line: number, [keyword = '', ...items]: readonly string[]): void {
    if (keyword === 'log') this.#log(line, items);
    else if (keyword === 'witness') this.#witness(line, items);
    else if (keyword === 'group') this.#group(line, items);
    else if (keyword === 'quorum') this.#quorum(line, items);
    else malformed(line, `there is no "${keyword}"`);
  }

  #isNamed(name: string): boolean {
    return this.witnesses.has(name) || this.groups.has(name);
  }

  #newName(line: number, name: string): string {
    if (name === NO_QUORUM || this.#isNamed(name)) malformed(line, `the name ${name} is taken`);
    if (this.witnesses.size + this.groups.size >= ITEMS_MAX) malformed(line, 'too many names');
    return name;
  }

  #isNew(line: number, key: VerifierKey, listed: readonly VerifierKey[]): void {
    if (listed.some(({ publicKey }) => Buffer.compare(publicKey, key.publicKey) === 0))
      malformed(line, 'that key is listed already');
  }

  #log(line: number, [key = '', , ...rest]: readonly string[]): void {
    const log = parseVerifierKey(key);
    if (rest.length > 0) malformed(line, 'log KEY [URL]');
    this.#isNew(line, log, this.logs);
    this.logs.push(log);
  }

  #witness(line: number, [name = '', key = '', , ...rest]: readonly string[]): void {
    const witness = parseVerifierKey(key);
    const cosigns = witness.type === KEY_TYPE_COSIGNATURE || witness.type === KEY_TYPE_MLDSA44;
    if (rest.length > 0 || !cosigns) malformed(line, 'witness NAME COSIGNER-KEY [URL]');
    this.#isNew(line, witness, [...this.witnesses.values()]);
    this.witnesses.set(this.#newName(line, name), witness);
  }

  #group(line: number, [name = '', threshold = '', ...members]: readonly string[]): void {
    const count = thresholdOf(threshold, members.length);
    if (count < 1 || count > members.length) malformed(line, 'group NAME all|any|COUNT MEMBER…');
    for (const member of members) {
      if (!this.#isNamed(member)) malformed(line, `${member} is not defined before it`);
      // Otherwise one witness would count in two ways.
      if (this.#grouped.has(member)) malformed(line, `${member} is in a group already`);
      this.#grouped.add(member);
    }
    this.groups.set(this.#newName(line, name), { name, threshold: count, members });
  }

  #quorum(line: number, [name = '', ...rest]: readonly string[]): void {
    if (this.quorum !== undefined || rest.length > 0) malformed(line, 'one quorum, one name');
    if (name !== NO_QUORUM && !this.#isNamed(name)) malformed(line, `${name} is not defined before it`);
    this.quorum = name;
  }
}

/** @throws QflError `protocol` naming the line */
export const parsePolicy = (text: string): Policy => {
  const reader = new Reader();
  // Tab and newline are the only control characters that the format has.
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/u.test(text) || text.length > POLICY_BYTES_MAX)
    return malformed(0, 'a control character, or too long');
  for (const [at, line] of text.split('\n').entries()) {
    const trimmed = line.replaceAll(/^[ \t]+|[ \t]+$/g, '');
    if (trimmed !== '' && !trimmed.startsWith('#')) reader.read(at + 1, trimmed.split(/[ \t]+/));
  }
  const { logs, witnesses, groups, quorum } = reader;
  return { logs, witnesses, groups, quorum: quorum ?? malformed(0, 'there is no quorum line') };
};

/** Witnesses and groups that are satisfied by these cosigners (verifier keys as text). */
export const namesMet = (policy: Policy, signedBy: ReadonlySet<string>): ReadonlySet<string> => {
  const met = new Set<string>();
  for (const [name, key] of policy.witnesses) if (signedBy.has(key.text)) met.add(name);
  for (const { name, threshold, members } of policy.groups.values())
    if (members.filter((member) => met.has(member)).length >= threshold) met.add(name);
  return met;
};

/** Is the quorum met by these cosigners (verifier keys as text)? */
export const quorumMet = (policy: Policy, signedBy: ReadonlySet<string>): boolean =>
  policy.quorum === NO_QUORUM || namesMet(policy, signedBy).has(policy.quorum);

export interface PolicyWitness {
  readonly name: string;
  /** A site counts only when each of its keys signed. */
  readonly keys: readonly VerifierKey[];
}

/** The file for logs, and witnesses of which `threshold` must sign; 0 asks for none. */
export const policyText = (
  comment: string,
  logs: readonly VerifierKey[],
  witnesses: readonly PolicyWitness[],
  threshold: number,
): string => {
  const lines = witnesses.flatMap(({ name, keys }) => {
    const members = keys.map(({ type }) => `${name}/${type === KEY_TYPE_MLDSA44 ? 'mldsa44' : 'ed25519'}`);
    return [
      ...keys.map(({ text }, at) => `witness ${members[at]} ${text}`),
      `group ${name} all ${members.join(' ')}`,
    ];
  });
  const quorum =
    threshold === 0 || witnesses.length === 0
      ? [`quorum ${NO_QUORUM}`]
      : [
          `group sites/quorum ${threshold} ${witnesses.map(({ name }) => name).join(' ')}`,
          'quorum sites/quorum',
        ];
  return `${[`# ${comment}`, ...logs.map(({ text }) => `log ${text}`), ...lines, ...quorum].join('\n')}\n`;
};
