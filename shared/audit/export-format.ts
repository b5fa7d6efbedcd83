/** What an audit export is made of; the writer (`export.ts`) and the verifier (`verify.ts`) share nothing else. */
import { z } from 'zod';
import { toBase64 } from '../bytes.ts';

export const EXPORT_FORMAT = 'qfl-audit-export/1';
export const MANIFEST_FILE = 'manifest.json';
export const MANIFEST_NOTE_FILE = 'manifest.note';
export const README_FILE = 'README.txt';
/** Bytes of each leaf hash that `index` keeps: enough to say which entry was altered; the root is what proves it. */
export const INDEX_HASH_BYTES = 4;
export const ENTRY_LINE_BYTES_MAX = 512 * 1024;

/** Per log, in this order inside its folder. */
export const LOG_FILES = ['checkpoint', 'keys', 'index', 'entries.ndjson'] as const;

const LogName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,60}$/, 'a log folder is 1–61 characters of a–z, 0–9 and "-"');

export const Manifest = z.strictObject({
  format: z.literal(EXPORT_FORMAT),
  createdMs: z.int().nonnegative(),
  generator: z.string().max(200),
  organisation: z.string().max(500),
  /** Who asked for it (a pseudonym or role) and on what ground. */
  requestedBy: z.string().max(200),
  ground: z.string().max(2000),
  /** Verifier key of whoever signed `manifest.note`. */
  signer: z.string().max(400),
  logs: z
    .array(
      z.strictObject({
        name: LogName,
        origin: z.string().max(300),
        /** `audit`: each line is a leaf, canonical JSON. `opaque`: each line is a leaf in base64. */
        kind: z.enum(['audit', 'opaque']),
        size: z.int().nonnegative(),
      }),
    )
    .max(1000),
  files: z
    .array(
      z.strictObject({
        path: z.string().max(99),
        bytes: z.int().nonnegative(),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
      }),
    )
    .max(5000),
});
export type Manifest = z.infer<typeof Manifest>;
export type LogKind = Manifest['logs'][number]['kind'];

/** The text that the export's signer signs: the format and the hash of the manifest. */
export const manifestNoteText = (manifestSha256: Uint8Array): string =>
  `${EXPORT_FORMAT}\n${toBase64(manifestSha256)}\n`;

export const README_TEXT = `AUDIT EXPORT

manifest.json      what is here: every file with its length and SHA-256
manifest.note      the exporter's signature over the SHA-256 of manifest.json (C2SP signed note)
LOG/checkpoint     the log's own signed statement of its size and root hash (C2SP tlog-checkpoint)
LOG/keys           the verifier keys of that log, one per line (name+hash+base64)
LOG/index          the first 4 bytes of every leaf hash, to find an altered entry
LOG/entries.ndjson one leaf per line: of audit logs the canonical JSON itself, of other logs the leaf in base64

To verify with this program, on any machine, without a network:
  qfl audit verify FILE [--trust KEY]
  exit code 0: everything agrees; 2: something was changed; 3: something is missing; 4: not signed by a key you trust

To verify without this program:
  1. Compare the SHA-256 of every file with manifest.json, and that of manifest.json with manifest.note.
  2. Leaf hash = SHA-256(0x00 || line without its newline); node hash = SHA-256(0x01 || left || right); RFC 6962 section 2.1.
  3. Compute the root over all leaf hashes in order; compare it and the number of lines with LOG/checkpoint.
  4. Check the Ed25519 signatures of LOG/checkpoint and manifest.note (C2SP signed-note).
  5. Compare the keys with those the hospitals gave you by another way. The keys inside this file prove only that the
     file agrees with itself: whoever can make a whole file can also make its keys.
`;
