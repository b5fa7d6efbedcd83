import { describe, expect, it, test } from 'vitest';
import { z } from 'zod';
import { fromBase64, toBase64, toHex } from '../../../shared/bytes.ts';
import {
  checkpointText,
  openCheckpoint,
  parseCheckpointText,
  readCheckpoint,
} from '../../../shared/audit/checkpoint.ts';
import { verifyConsistency } from '../../../shared/audit/merkle-verify.ts';
import {
  cosignatureTimeS,
  ed25519NoteSigner,
  openNote,
  parseNote,
  parseVerifierKey,
  signNote,
  strictBase64,
} from '../../../shared/audit/note.ts';
import { missing, readVectors } from './vectors.ts';

const FILE = 'c2sp-notes-and-checkpoints.json';
const Vectors = z.object({
  notes: z.array(
    z.object({
      name: z.string(),
      vkeys: z.array(z.string()),
      skey: z.string().optional(),
      note: z.string(),
    }),
  ),
  witnessSession: z.object({ steps: z.array(z.object({ body: z.string(), status: z.number() })) }),
  vkeyParse: z.array(z.object({ vkey: z.string(), ok: z.boolean() })),
  cosignatureTimestamps: z.array(z.object({ sig: z.string(), unix: z.number() })),
  layoutExamples: z.array(
    z.object({
      note: z.string(),
      origin: z.string(),
      size: z.number(),
      cosignedTimes: z.record(z.string(), z.number()),
    }),
  ),
});
const load = () => Vectors.parse(readVectors(FILE));

const codeOf = (run: () => unknown): unknown => {
  try {
    run();
    return 'accepted';
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
};

describe.skipIf(missing(FILE))('published notes (needs ../shared/vectors)', () => {
  test('every note opens under its key, and not once a byte of it is changed', () => {
    for (const { vkeys, note } of load().notes) {
      const keys = vkeys.map(parseVerifierKey);
      expect(openNote(note, keys).signedBy).toHaveLength(1);
      for (let at = 0; at < note.length; at += 1) {
        const changed = note.slice(0, at) + (note[at] === 'x' ? 'y' : 'x') + note.slice(at + 1);
        expect(codeOf(() => openNote(changed, keys))).not.toBe('accepted');
      }
    }
  });

  test('signing reproduces the Go example byte for byte', () => {
    const example = load().notes.find(({ skey }) => skey !== undefined)!;
    const [, , name = '', , ...key] = example.skey!.split('+');
    const signer = ed25519NoteSigner(name, fromBase64(key.join('+')).subarray(1));
    expect(signer.verifierKey).toBe(example.vkeys[0]);
    expect(signNote(parseNote(example.note).text, [signer])).toBe(example.note);
  });

  test('verifier keys, good and bad', () => {
    for (const { vkey, ok } of load().vkeyParse) {
      expect([vkey, codeOf(() => parseVerifierKey(vkey))]).toEqual([vkey, ok ? 'accepted' : 'protocol']);
    }
  });

  test('the Go checksum database checkpoint reads and writes', () => {
    const { note, vkeys } = load().notes[2]!;
    const { checkpoint } = openCheckpoint(note, vkeys.map(parseVerifierKey));
    expect(checkpoint).toMatchObject({ origin: 'go.sum database tree', size: 35225469 });
    expect(note.startsWith(`${checkpointText(checkpoint)}\n`)).toBe(true);
  });

  test('the witness session: what a witness has to accept and refuse', () => {
    const { witnessSession, notes } = load();
    const keys = notes[3]!.vkeys.map(parseVerifierKey);
    let held: { size: number; root: Uint8Array } = { size: 0, root: new Uint8Array(32) };
    for (const { body, status } of witnessSession.steps) {
      const split = body.indexOf('\n\n');
      const [, ...path] = body.slice(0, split).split('\n');
      const note = body.slice(split + 2);
      const code = codeOf(() => openCheckpoint(note, keys));
      // The broken signature of step 2 also has stray base64 bits; ours stops there, the published witness at the signature.
      expect(code === 'accepted').toBe(status !== 403);
      if (code !== 'accepted') continue;
      const next = readCheckpoint(note);
      const claim = {
        oldSize: held.size,
        newSize: next.size,
        oldRoot: held.root,
        newRoot: next.root,
        path: path.map(strictBase64),
      };
      // A witness that holds nothing has nothing to compare: it says so itself, no proof does.
      const accepted = held.size === 0 || verifyConsistency(claim);
      expect(accepted).toBe(status === 200);
      if (accepted) held = next;
    }
    expect(held.size).toBe(3);
  });

  test('cosignature times and the layout of the specification', () => {
    const { cosignatureTimestamps, layoutExamples } = load();
    for (const { sig, unix } of cosignatureTimestamps) {
      expect(cosignatureTimeS(fromBase64(sig).subarray(4))).toBe(unix);
    }
    for (const { note, origin, size, cosignedTimes } of layoutExamples) {
      expect(readCheckpoint(note)).toMatchObject({ origin, size });
      for (const { name, signature } of parseNote(note).signatures.slice(1)) {
        expect(cosignatureTimeS(signature)).toBe(cosignedTimes[name]);
      }
    }
  });
});

const signer = ed25519NoteSigner('example.org/log', Buffer.alloc(32, 7));
const other = ed25519NoteSigner('example.org/other', Buffer.alloc(32, 8));
const key = parseVerifierKey(signer.verifierKey);

describe('a note', () => {
  it('holds several signatures and says which keys are known', () => {
    const opened = openNote(signNote('hello\n', [other, signer]), [key]);
    expect(opened.signedBy.map(({ name }) => name)).toEqual(['example.org/log']);
    expect(opened.unknown.map(({ name }) => name)).toEqual(['example.org/other']);
    expect(toHex(key.keyHash)).toBe(toHex(signer.keyHash));
  });

  it('is refused without a known key, twice signed, or malformed', () => {
    const note = signNote('hello\n', [signer]);
    expect(codeOf(() => openNote(note, []))).toBe('unknown_key');
    expect(codeOf(() => openNote(signNote('hello\n', [signer, signer]), [key]))).toBe('protocol');
    for (const bad of [
      '',
      'hello\n',
      'hello\n\n',
      note.slice(0, -1),
      `${note}\n`,
      note.replace('— ', '- '),
    ]) {
      expect([bad, codeOf(() => openNote(bad, [key]))]).toEqual([bad, 'protocol']);
    }
    expect(codeOf(() => signNote('no newline', [signer]))).toBe('protocol');
    expect(codeOf(() => signNote('a\tb\n', [signer]))).toBe('protocol');
    expect(codeOf(() => openNote(Uint8Array.of(0xff, 10, 10, 10), [key]))).toBe('protocol');
  });

  it('needs a name without spaces and a 32-byte seed', () => {
    expect(codeOf(() => ed25519NoteSigner('a b', Buffer.alloc(32)))).toBe('config_invalid');
    expect(codeOf(() => ed25519NoteSigner('a', Buffer.alloc(31)))).toBe('config_invalid');
  });
});

describe('a checkpoint', () => {
  const root = toBase64(new Uint8Array(32));
  it.each([
    ['no origin', `\n1\n${root}\n`],
    ['leading zero', `o\n01\n${root}\n`],
    ['negative', `o\n-1\n${root}\n`],
    ['above 2^53', `o\n9007199254740993\n${root}\n`],
    ['short root', 'o\n1\nAAAA\n'],
    ['empty extension', `o\n1\n${root}\n\n`],
    ['cut', 'o\n1\n'],
  ])('is refused: %s', (_, text) => {
    expect(codeOf(() => parseCheckpointText(text))).toBe('protocol');
  });
});
