/**
 * `import`: resources per second of importing a generated bulk folder into a real encrypted LevelDB, and whether
 * memory stays flat. Unit: resources/s. Input: at least 100,000 generated FHIR resources (about 80 MB of NDJSON).
 * The bound beside it, in the same run on the same files: reading the lines and JSON.parse of each, nothing else.
 */
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { importFolder } from '../../agent/records/import-fhir.ts';
import { generateHospital } from '../../agent/records/sample.ts';
import { createRecords } from '../../agent/records/store.ts';
import { countDistinctPatients } from '../../agent/records/count.ts';
import { parseCohort } from '../../agent/records/cohort.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { encryptedStore } from '../../shared/store/encrypted.ts';
import { openLevelStore } from '../../shared/store/level.ts';

export interface ImportBenchOptions {
  readonly json: boolean;
  /** Generated patients; each has about 15 resources. */
  readonly patients?: number;
}

export interface ImportBenchResult {
  readonly resources: number;
  readonly inputBytes: number;
  readonly importPerSecond: number;
  readonly reimportPerSecond: number;
  readonly parseOnlyPerSecond: number;
  readonly shareOfParseOnly: number;
  readonly countMs: number;
  readonly storeBytes: number;
  /** Mean over the first and the last quarter of the first import, garbage not yet collected included. */
  readonly heapFirstQuarterBytes: number;
  readonly heapLastQuarterBytes: number;
  /** RSS also holds the tables that LevelDB maps and caches, which grow with the store up to its own limits. */
  readonly rssStartBytes: number;
  readonly rssFirstQuarterBytes: number;
  readonly rssLastQuarterBytes: number;
  readonly rssPeakBytes: number;
  readonly rssEndBytes: number;
}

const PATIENTS = 7_000;
const MEBIBYTE = 1024 * 1024;

const timed = async <Value>(work: () => Promise<Value>): Promise<{ value: Value; elapsedMs: number }> => {
  const startMs = performance.now();
  const value = await work();
  return { value, elapsedMs: performance.now() - startMs };
};

const folderBytes = async (folder: string): Promise<number> => {
  const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
};

const parseEveryLine = async (folder: string): Promise<number> => {
  let lines = 0;
  for (const name of (await readdir(folder)).filter((file) => file.endsWith('.ndjson'))) {
    for await (const line of createInterface({ input: createReadStream(join(folder, name)) })) {
      JSON.parse(line);
      lines += 1;
    }
  }
  return lines;
};

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

const measure = async (root: string, patients: number): Promise<ImportBenchResult> => {
  const { recordsFolder, counts } = await generateHospital(join(root, 'hospital'), {
    site: 'bench',
    patients,
  });
  const resources = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const parse = await timed(() => parseEveryLine(recordsFolder));
  const levelFolder = join(root, 'level');
  const store = encryptedStore(await openLevelStore(levelFolder), secureRandomBytes(32));
  const records = createRecords({ store, blindingKey: secureRandomBytes(32) });
  globalThis.gc?.();
  const rssStartBytes = process.memoryUsage.rss();
  const samples: number[] = [];
  const heapSamples: number[] = [];
  const onProgress = (): void => {
    const { rss, heapUsed } = process.memoryUsage();
    samples.push(rss);
    heapSamples.push(heapUsed);
  };
  const first = await timed(() => importFolder(records, recordsFolder, { onProgress }));
  const rssEndBytes = process.memoryUsage.rss();
  const counted = await timed(() => countDistinctPatients(records, parseCohort('Condition?code=59621000')));
  const again = await timed(() => importFolder(records, recordsFolder));
  await store.close();
  const perSecond = (elapsedMs: number): number => (resources / elapsedMs) * 1000;
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  return {
    resources,
    inputBytes: await folderBytes(recordsFolder),
    importPerSecond: perSecond(first.elapsedMs),
    reimportPerSecond: perSecond(again.elapsedMs),
    parseOnlyPerSecond: perSecond(parse.elapsedMs),
    shareOfParseOnly: parse.elapsedMs / first.elapsedMs,
    countMs: counted.elapsedMs,
    storeBytes: await folderBytes(levelFolder),
    heapFirstQuarterBytes: mean(heapSamples.slice(0, quarter)),
    heapLastQuarterBytes: mean(heapSamples.slice(-quarter)),
    rssStartBytes,
    rssFirstQuarterBytes: mean(samples.slice(0, quarter)),
    rssLastQuarterBytes: mean(samples.slice(-quarter)),
    rssPeakBytes: Math.max(rssStartBytes, rssEndBytes, ...samples),
    rssEndBytes,
  };
};

const rate = (value: number): string => `${Math.round(value).toLocaleString('en')} /s`;
const size = (value: number): string => `${(value / MEBIBYTE).toFixed(1)} MiB`;

const table = (result: ImportBenchResult): string => {
  const rows: readonly (readonly [string, string])[] = [
    ['resources', result.resources.toLocaleString('en')],
    ['input (NDJSON)', size(result.inputBytes)],
    ['import into encrypted LevelDB', rate(result.importPerSecond)],
    ['import again (replaces everything)', rate(result.reimportPerSecond)],
    ['bound: read lines and JSON.parse only', rate(result.parseOnlyPerSecond)],
    ['import / bound', result.shareOfParseOnly.toFixed(3)],
    ['one cohort count afterwards', `${result.countMs.toFixed(0)} ms`],
    ['store on disk', size(result.storeBytes)],
    ['JS heap, mean of first quarter', size(result.heapFirstQuarterBytes)],
    ['JS heap, mean of last quarter', size(result.heapLastQuarterBytes)],
    ['RSS at start', size(result.rssStartBytes)],
    ['RSS, mean of first quarter', size(result.rssFirstQuarterBytes)],
    ['RSS, mean of last quarter', size(result.rssLastQuarterBytes)],
    ['RSS, peak', size(result.rssPeakBytes)],
    ['RSS at end', size(result.rssEndBytes)],
  ];
  return rows.map(([name, value]) => `${name.padEnd(40)}${value.padStart(16)}`).join('\n');
};

/** Prints a table, or one JSON object with `json`. */
export const run = async ({ json, patients = PATIENTS }: ImportBenchOptions): Promise<ImportBenchResult> => {
  const root = await mkdtemp(join(tmpdir(), 'qfl-bench-import-'));
  try {
    const result = await measure(root, patients);
    console.log(json ? JSON.stringify({ bench: 'import', ...result }) : table(result));
    return result;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
};
