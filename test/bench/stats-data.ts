/**
 * Hospitals for the benchmark of statistics, each with the truth about it as a plain reader of the files sees it: no index, no cohort
 * language, no code of the program besides the generator and the import.
 */
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { importFolder } from '../../agent/records/import-fhir.ts';
import { generateHospital } from '../../agent/records/sample.ts';
import { createRecords, type Records } from '../../agent/records/store.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { encryptedStore } from '../../shared/store/encrypted.ts';
import { openLevelStore } from '../../shared/store/level.ts';

export interface Site {
  readonly name: string;
  readonly records: Records;
  close(): Promise<void>;
}

/** What the questions ask for, exactly; `values` are the latest of each person as written. */
export interface Truth {
  readonly count: number;
  readonly values: readonly number[];
}

/** The questions' figures: one cohort, one numeric row. */
export interface Subject {
  readonly name: string;
  readonly cohort: string;
  readonly rows: string;
  readonly unit: string;
  readonly low: number;
  readonly high: number;
  readonly granularity: number;
}

export interface Dataset {
  readonly subject: Subject;
  readonly patients: number;
  readonly sites: readonly Site[];
  readonly truth: Truth;
}

const importInto = async (root: string, name: string, folder: string): Promise<Site> => {
  const store = encryptedStore(await openLevelStore(join(root, `level-${name}`)), secureRandomBytes(32));
  const records = createRecords({ store, blindingKey: secureRandomBytes(32) });
  await importFolder(records, folder);
  return { name, records, close: () => store.close() };
};

interface Coded {
  readonly coding?: readonly { readonly code?: string }[];
}
interface Line {
  readonly resourceType: string;
  readonly id: string;
  readonly subject?: { readonly reference: string };
  readonly patient?: { readonly reference: string };
  readonly code?: Coded;
  readonly verificationStatus?: Coded;
  readonly provision?: { readonly type?: string };
  readonly link?: readonly { readonly other: { readonly reference: string } }[];
  readonly effectiveDateTime?: string;
  readonly valueQuantity?: { readonly value: number };
}

const hasCode = (coded: Coded | undefined, code: string): boolean =>
  coded?.coding?.some((one) => one.code === code) === true;

async function* linesOf(folder: string): AsyncGenerator<Line> {
  for (const file of (await readdir(folder)).filter((name) => name.endsWith('.ndjson')))
    for await (const text of createInterface({ input: createReadStream(join(folder, file)) }))
      yield JSON.parse(text) as Line;
}

const idOf = (reference: { readonly reference: string } | undefined): string =>
  reference?.reference.slice('Patient/'.length) ?? '';

interface Latest {
  readonly day: string;
  readonly values: number[];
}

/**
 * Persons with the condition, and the latest value of each who has one. Two values of one day are settled by a blinded key that a plain
 * reader has not, so the mean of that day's values stands for the person.
 */
const plainTruth = async (folder: string, subject: Subject): Promise<Truth> => {
  const conditionCode = /code=([\w-]+)/.exec(subject.cohort)?.[1] ?? '';
  const rowCode = /code=([\w-]+)/.exec(subject.rows)?.[1] ?? '';
  const names = new Map<string, string>();
  const refused = new Set<string>();
  const having = new Set<string>();
  const latest = new Map<string, Latest>();
  const lines: Line[] = [];
  for await (const line of linesOf(folder)) {
    if (line.resourceType === 'Patient' && line.link !== undefined)
      names.set(line.id, idOf(line.link[0]?.other));
    else if (line.resourceType === 'Consent' && line.provision?.type === 'deny')
      refused.add(idOf(line.patient));
    else if (line.resourceType === 'Condition' || line.resourceType === 'Observation') lines.push(line);
  }
  const person = (id: string): string => names.get(id) ?? id;
  for (const line of lines) {
    const who = person(idOf(line.subject));
    if (line.resourceType === 'Condition' && hasCode(line.code, conditionCode)) {
      const doubtful = ['refuted', 'entered-in-error'].some((code) => hasCode(line.verificationStatus, code));
      if (!doubtful) having.add(who);
    }
    const value = line.valueQuantity?.value;
    if (line.resourceType !== 'Observation' || value === undefined || !hasCode(line.code, rowCode)) continue;
    const day = line.effectiveDateTime?.slice(0, 10) ?? '';
    const known = latest.get(who);
    if (known === undefined || day > known.day) latest.set(who, { day, values: [value] });
    else if (day === known.day) known.values.push(value);
  }
  const out = new Set([...refused].map(person));
  const members = [...having].filter((who) => !out.has(who));
  const values = members.flatMap((who) => {
    const found = latest.get(who)?.values ?? [];
    return found.length === 0 ? [] : [found.reduce((sum, value) => sum + value, 0) / found.length];
  });
  return { count: members.length, values };
};

/** One generated hospital: patients with type 2 diabetes and their HbA1c. */
export const generatedHospital = async (root: string, patients: number): Promise<Dataset> => {
  const subject: Subject = {
    name: 'generated hospital: HbA1c of patients with type 2 diabetes',
    cohort: 'Condition?code=44054006',
    rows: 'Observation?code=4548-4',
    unit: '%',
    low: 3,
    high: 15,
    granularity: 0.1,
  };
  const { recordsFolder } = await generateHospital(join(root, 'generated'), { site: 'bench', patients });
  const truth = await plainTruth(recordsFolder, subject);
  return { subject, patients, sites: [await importInto(root, 'generated', recordsFolder)], truth };
};

const sharedFolders = ['../../../shared/', '../../../../shared/'].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
);
const icuFolder = sharedFolders.map((folder) => join(folder, 'data/icu-physionet2012')).find(existsSync);
export const hasIcu = icuFolder !== undefined;

const ICU_START = '2012-01-01';
const CREATININE = '2160-0';

interface Stay {
  age: number;
  gender: number;
  type: string;
  readonly creatinine: { readonly hours: number; readonly value: number }[];
}

const readStays = (folder: string): Map<string, Stay> => {
  const stays = new Map<string, Stay>();
  const text = gunzipSync(readFileSync(join(folder, 'set-a.csv.gz'))).toString('utf8');
  for (const line of text.split('\n').slice(1)) {
    const [id = '', time = '', parameter, value] = line.split(',');
    if (id === '') continue;
    const stay = stays.get(id) ?? { age: 0, gender: -1, type: '', creatinine: [] };
    stays.set(id, stay);
    if (parameter === 'Age') stay.age = Number(value);
    else if (parameter === 'Gender') stay.gender = Number(value);
    else if (parameter === 'ICUType') stay.type = value ?? '';
    else if (parameter === 'Creatinine')
      stay.creatinine.push({ hours: Number(time.slice(0, 2)), value: Number(value) });
  }
  return stays;
};

const GENDERS = ['female', 'male'] as const;
/** The last of each day: a row's date is a day, and "latest" must be one row. */
const lastOfDays = (creatinine: Stay['creatinine']): Stay['creatinine'] => [
  ...new Map(creatinine.map((one) => [Math.floor(one.hours / 24), one])).values(),
];

/** Admission to intensive care: the stay itself as a condition of the patient. */
const STAY = '305351004';

/** A stay as FHIR resources: the patient, the admission, and each creatinine on the day it was measured. */
const resourcesOf = (id: string, { age, gender, creatinine }: Stay): object[] => {
  const subject = { reference: `Patient/${id}` };
  return [
    {
      resourceType: 'Patient',
      id,
      gender: GENDERS[gender] ?? 'unknown',
      birthDate: `${2012 - age}-01-01`,
    },
    { resourceType: 'Condition', id: `stay-${id}`, subject, code: { coding: [{ code: STAY }] } },
    ...lastOfDays(creatinine).map(({ hours, value }, at) => ({
      resourceType: 'Observation',
      id: `creatinine-${id}-${at}`,
      status: 'final',
      subject,
      code: { coding: [{ system: 'http://loinc.org', code: CREATININE }] },
      effectiveDateTime: new Date(Date.parse(ICU_START) + hours * 3_600_000).toISOString(),
      valueQuantity: { value, unit: 'mg/dL', code: 'mg/dL' },
    })),
  ];
};

/** Four intensive care units, 4,000 stays: the latest creatinine of each. */
export const intensiveCare = async (root: string): Promise<Dataset | undefined> => {
  if (icuFolder === undefined) return undefined;
  const subject: Subject = {
    name: 'PhysioNet 2012 over four units: creatinine of 4,000 intensive care stays',
    cohort: `Condition?code=${STAY}`,
    rows: `Observation?code=${CREATININE}`,
    unit: 'mg/dL',
    low: 0,
    high: 10,
    granularity: 0.1,
  };
  const stays = readStays(icuFolder);
  const units = new Map<string, object[]>();
  for (const [id, stay] of stays) {
    const unit = units.get(stay.type) ?? [];
    unit.push(...resourcesOf(id, stay));
    units.set(stay.type, unit);
  }
  const sites: Site[] = [];
  const truths: Truth[] = [];
  for (const [type, resources] of units) {
    const folder = join(root, `icu-${type}`);
    await mkdir(folder, { recursive: true });
    await writeFile(
      join(folder, 'all.ndjson'),
      resources.map((resource) => `${JSON.stringify(resource)}\n`).join(''),
    );
    truths.push(await plainTruth(folder, subject));
    sites.push(await importInto(root, `icu-${type}`, folder));
  }
  return {
    subject,
    patients: stays.size,
    sites,
    truth: {
      count: truths.reduce((sum, { count }) => sum + count, 0),
      values: truths.flatMap(({ values }) => values),
    },
  };
};
