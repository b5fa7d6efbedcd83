/** The hospitals of `ask`: a generated one, and the stays of PhysioNet 2012 set A as FHIR records (a stay is a patient, a kind of value measured is an Observation). */
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import { importFolder } from '../../agent/records/import-fhir.ts';
import { hospitalResources } from '../../agent/records/sample.ts';
import { createRecords, type Records } from '../../agent/records/store.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { encryptedStore } from '../../shared/store/encrypted.ts';
import { openLevelStore } from '../../shared/store/level.ts';
import { projectRoot } from '../fixtures/processes.ts';
import { truePersons, type TruePerson } from '../unit/ask/truth.ts';

export interface BenchHospital {
  readonly name: string;
  readonly records: Records;
  readonly truth: readonly TruePerson[];
  close(): Promise<void>;
}

/** Day on which ages are taken. */
export const AS_OF = '2025-06-30';

type Resource = Readonly<Record<string, unknown>> & { readonly resourceType: string };

/** Parameter of the challenge → LOINC. */
const LOINC: Readonly<Record<string, string>> = {
  Albumin: '1751-7',
  ALP: '6768-6',
  ALT: '1742-6',
  AST: '1920-8',
  Bilirubin: '1975-2',
  BUN: '3094-0',
  Cholesterol: '2093-3',
  Creatinine: '2160-0',
  DiasABP: '8462-4',
  NIDiasABP: '8462-4',
  FiO2: '3150-6',
  GCS: '9269-2',
  Glucose: '2345-7',
  HCO3: '1963-8',
  HCT: '4544-3',
  HR: '8867-4',
  K: '2823-3',
  Lactate: '2524-7',
  Mg: '19123-9',
  MAP: '8478-0',
  NIMAP: '8478-0',
  Na: '2951-2',
  PaCO2: '2019-8',
  PaO2: '2703-7',
  pH: '2744-1',
  Platelets: '777-3',
  RespRate: '9279-1',
  SaO2: '2708-6',
  SysABP: '8480-6',
  NISysABP: '8480-6',
  Temp: '8310-5',
  TroponinI: '10839-9',
  TroponinT: '6598-7',
  Urine: '9187-6',
  WBC: '6690-2',
};
const VENTILATION = '40617009';

const coded = (system: string, code: string) => ({ coding: [{ system, code }] });

const stayResources = (id: string, values: ReadonlyMap<string, number>): Resource[] => {
  const subject = { reference: `Patient/s${id}` };
  const codes = new Set([...values.keys()].flatMap((name) => LOINC[name] ?? []));
  const age = values.get('Age') ?? -1;
  return [
    {
      resourceType: 'Patient',
      id: `s${id}`,
      gender: { 0: 'female', 1: 'male' }[values.get('Gender') ?? -1] ?? 'unknown',
      ...(age < 0 ? {} : { birthDate: `${2025 - age}-01-01` }),
    },
    ...[...codes].map((code) => ({
      resourceType: 'Observation',
      id: `s${id}-${code}`,
      status: 'final',
      code: coded('http://loinc.org', code),
      subject,
    })),
    ...(values.has('MechVent')
      ? [
          {
            resourceType: 'Procedure',
            id: `s${id}-vent`,
            status: 'completed',
            code: coded('http://snomed.info/sct', VENTILATION),
            subject,
          },
        ]
      : []),
  ];
};

/** Rows of one stay stand together. */
const readStays = async (file: string): Promise<Resource[]> => {
  const resources: Resource[] = [];
  let current = '';
  let values = new Map<string, number>();
  const lines = createInterface({ input: createReadStream(file).pipe(createGunzip()) });
  for await (const line of lines) {
    const [id = '', , name = '', value = ''] = line.split(',');
    if (id === 'RecordID') continue;
    if (id !== current && current !== '') {
      resources.push(...stayResources(current, values));
      values = new Map();
    }
    current = id;
    values.set(name, Number(value));
  }
  return [...resources, ...stayResources(current, values)];
};

const importAll = async (
  root: string,
  name: string,
  resources: readonly Resource[],
): Promise<BenchHospital> => {
  const folder = join(root, name, 'fhir');
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, 'all.ndjson'),
    resources.map((resource) => `${JSON.stringify(resource)}\n`).join(''),
  );
  const store = encryptedStore(await openLevelStore(join(root, name, 'level')), secureRandomBytes(32));
  const records = createRecords({ store, blindingKey: secureRandomBytes(32) });
  await importFolder(records, folder);
  return { name, records, truth: truePersons(resources), close: () => store.close() };
};

export const generatedHospital = (root: string, patients: number): Promise<BenchHospital> =>
  importAll(root, `generated-${patients}`, [...hospitalResources({ site: 'bench', patients })]);

/** Undefined when the public data does not lie beside the project. */
export const icuHospital = async (root: string): Promise<BenchHospital | undefined> => {
  const file = join(projectRoot, '../shared/data/icu-physionet2012/set-a.csv.gz');
  return existsSync(file) ? importAll(root, 'icu-physionet2012', await readStays(file)) : undefined;
};
