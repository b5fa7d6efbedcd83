/** What an audit export is made of; the writer (`export.ts`) and the verifier (`verify/`) share nothing else. `deploy/audit-format.md` says it in words. */
import { z } from 'zod';
import { toBase64 } from '../bytes.ts';

export const EXPORT_FORMAT = 'qfl-audit-export/2';
export const MANIFEST_FILE = 'manifest.json';
export const MANIFEST_NOTE_FILE = 'manifest.note';
export const README_FILE = 'README.txt';
export const POLICY_FILE = 'policy.txt';
/** One row for each exported entry of the audit logs, as their manifest rows say. */
export const EVENT_FILES = ['events.ndjson', 'events.csv'] as const;
/** Bytes of each leaf hash that `index` keeps: enough to say which entry was altered; the root is what proves it. */
export const INDEX_HASH_BYTES = 4;
export const ENTRY_LINE_BYTES_MAX = 512 * 1024;

/** Per log, inside its folder, in this order; `consistency` only where an older checkpoint was asked for. */
export const LOG_FILES = ['checkpoint', 'proof', 'consistency', 'index', 'entries.ndjson'] as const;

const count = z.int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const LogName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,60}$/, 'a log folder is 1–61 characters of a–z, 0–9 and "-"');

export const Manifest = z.strictObject({
  format: z.literal(EXPORT_FORMAT),
  createdMs: count,
  /** Of every time in the bundle. */
  timeZone: z.literal('UTC'),
  generator: z.string().max(200),
  /** Who runs the federation; null where the configuration does not say. */
  organisation: z.string().max(500).nullable(),
  federation: z.string().max(100),
  /** Who asked for it (a pseudonym or role) and on what ground. */
  requestedBy: z.string().max(200),
  ground: z.string().max(2000),
  /** The times asked for, from inclusive, to exclusive; null: no bound. */
  period: z.strictObject({ fromMs: count.nullable(), toMs: count.nullable() }),
  /** Only entries with all of these; empty: all. */
  filter: z.record(z.string().max(40), z.string().max(128)),
  /** In plain words: what is missing or left out, and why. */
  statements: z.array(z.string().max(1000)).max(2000),
  policySha256: sha256,
  /** Verifier key of whoever signed `manifest.note`. */
  signer: z.string().max(400),
  logs: z
    .array(
      z.strictObject({
        name: LogName,
        origin: z.string().max(300),
        /** `audit`: a leaf is canonical JSON. `opaque`: a leaf is any bytes. */
        kind: z.enum(['audit', 'opaque']),
        /** Of the checkpoint. */
        size: count,
        /** Entries [first, end) have a line each. */
        first: count,
        end: count,
        /** Lines that are the entry itself; the others are the hash of an entry that was left out. */
        entries: count,
        /** Entries below were removed when their time of retention was over. */
        minimumIndex: count,
      }),
    )
    .max(1000),
  files: z
    .array(
      z.strictObject({
        path: z.string().max(99),
        bytes: count,
        sha256,
        /** Of .ndjson: lines. Of .csv: lines below the head. Else null. */
        rows: count.nullable(),
      }),
    )
    .max(5000),
});
export type Manifest = z.infer<typeof Manifest>;
export type LogDescription = Manifest['logs'][number];
export type LogKind = LogDescription['kind'];

/** The text that the export's signer signs: the format and the hash of the manifest. */
export const manifestNoteText = (manifestSha256: Uint8Array): string =>
  `${EXPORT_FORMAT}\n${toBase64(manifestSha256)}\n`;

export const README_TEXT = `AUDIT EXPORT

What proves something (whoever made this file cannot change it unnoticed):
manifest.json         what is here: period, filter, what is missing, every file with length, rows and SHA-256
manifest.note         signature over the SHA-256 of manifest.json (C2SP signed note)
policy.txt            whose signatures count (C2SP tlog-policy), as the federation stood when this was made
LOG/checkpoint        that log's signed size and root hash, with cosignatures of the hospitals (C2SP tlog-checkpoint, tlog-cosignature)
LOG/proof             hashes that tie the entries here to that root
LOG/consistency       proof that the log only grew since a checkpoint you held before (where you asked for it)
LOG/index             the first 4 bytes of every leaf hash, to find an altered entry
LOG/entries.ndjson    one line per entry: the entry itself, or in quotation marks the hash of an entry that was left out

What is made from it for reading (signed by whoever made this file; "entries.ndjson" is the evidence behind it):
summary.pdf           the numbers, the incidents, how to verify
events.ndjson         the same entries as FHIR R4 AuditEvent
events.csv            the same entries as a table; a cell that a spreadsheet would run as a formula begins with '
disclosures.csv       accounting of disclosures (HIPAA 164.528)
art30.json            record of processing activities (GDPR Art. 30)
access-review.csv     accounts and keys of programs
budget.csv            privacy budgets
keys.ndjson           the key directory in words
incidents.ndjson      entries that bear on security
soc2-map.csv          which file is evidence for which control

To verify with this program, on any machine, without a network:
  qfl audit verify FILE --policy POLICY      (or: qfl-verify FILE --policy POLICY)
  exit code 0: everything agrees; 2: something was changed; 3: something is missing; 4: not signed by whom the policy names, or no policy given
  POLICY has to come from elsewhere: any hospital's agent writes it with "qfl audit policy --out policy.txt".
To verify without this program: the format is described on one page, audit-format.md.
`;
