/**
 * What the generated hospitals treat: common conditions with SNOMED CT codes, and what goes with them in LOINC and
 * RxNorm. Prevalence is of the right order for adults in a hospital's catchment, not an epidemiological claim.
 */
export interface Measurement {
  readonly loinc: string;
  readonly display: string;
  readonly unit: string;
  readonly mean: number;
  readonly spread: number;
  readonly digits: number;
}

export interface Medication {
  readonly rxnorm: string;
  readonly display: string;
}

export interface Disease {
  readonly snomed: string;
  readonly display: string;
  /** Share of adults at age 60; it falls to `youngShare` of that at 20. */
  readonly prevalence: number;
  readonly youngShare: number;
  readonly measurements: readonly Measurement[];
  readonly medications: readonly Medication[];
}

const measurement = (
  loinc: string,
  display: string,
  unit: string,
  mean: number,
  spread: number,
  digits = 0,
): Measurement => ({ loinc, display, unit, mean, spread, digits });

export const VITALS: readonly Measurement[] = [
  measurement('8480-6', 'Systolic blood pressure', 'mm[Hg]', 126, 28),
  measurement('8462-4', 'Diastolic blood pressure', 'mm[Hg]', 78, 18),
  measurement('8867-4', 'Heart rate', '/min', 74, 20),
  measurement('39156-5', 'Body mass index', 'kg/m2', 27, 9, 1),
];

const METFORMIN = {
  rxnorm: '860975',
  display: '24 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet',
};
const LISINOPRIL = { rxnorm: '314076', display: 'lisinopril 10 MG Oral Tablet' };
const HYDROCHLOROTHIAZIDE = { rxnorm: '310798', display: 'Hydrochlorothiazide 25 MG Oral Tablet' };
const SIMVASTATIN = { rxnorm: '314231', display: 'Simvastatin 10 MG Oral Tablet' };
const ASPIRIN = { rxnorm: '243670', display: 'Aspirin 81 MG Oral Tablet' };
const IBUPROFEN = { rxnorm: '198405', display: 'Ibuprofen 100 MG Oral Tablet' };
const ALENDRONATE = { rxnorm: '904419', display: 'Alendronic acid 10 MG Oral Tablet' };
const AMOXICILLIN = { rxnorm: '562251', display: 'Amoxicillin 250 MG / Clavulanate 125 MG Oral Tablet' };
const BUDESONIDE = { rxnorm: '351109', display: 'budesonide 0.25 MG/ML Inhalation Suspension' };
const ALBUTEROL = { rxnorm: '351137', display: 'albuterol 0.21 MG/ML Inhalation Solution' };

const CREATININE = measurement('2160-0', 'Creatinine [Mass/volume] in Serum or Plasma', 'mg/dL', 1.1, 0.6, 2);
const GFR = measurement(
  '33914-3',
  'Glomerular filtration rate/1.73 sq M.predicted',
  'mL/min/{1.73_m2}',
  58,
  30,
);
const HBA1C = measurement('4548-4', 'Hemoglobin A1c/Hemoglobin.total in Blood', '%', 7.4, 2.4, 1);
const LDL = measurement('18262-6', 'Cholesterol in LDL [Mass/volume] in Serum or Plasma', 'mg/dL', 131, 60);
const LEUKOCYTES = measurement('6690-2', 'Leukocytes [#/volume] in Blood', '10*3/uL', 11, 7, 1);
const SATURATION = measurement('2708-6', 'Oxygen saturation in Arterial blood', '%', 93, 7);

const disease = (
  snomed: string,
  display: string,
  prevalence: number,
  youngShare: number,
  measurements: readonly Measurement[] = [],
  medications: readonly Medication[] = [],
): Disease => ({ snomed, display, prevalence, youngShare, measurements, medications });

export const DISEASES: readonly Disease[] = [
  disease(
    '59621000',
    'Essential hypertension (disorder)',
    0.38,
    0.12,
    [CREATININE],
    [LISINOPRIL, HYDROCHLOROTHIAZIDE],
  ),
  disease('44054006', 'Diabetes mellitus type 2 (disorder)', 0.14, 0.1, [HBA1C, CREATININE], [METFORMIN]),
  disease('55822004', 'Hyperlipidemia (disorder)', 0.3, 0.15, [LDL], [SIMVASTATIN]),
  disease('195967001', 'Asthma (disorder)', 0.08, 1.1, [SATURATION], [ALBUTEROL, BUDESONIDE]),
  disease('13645005', 'Chronic obstructive lung disease (disorder)', 0.07, 0.05, [SATURATION], [ALBUTEROL]),
  disease('53741008', 'Coronary arteriosclerosis (disorder)', 0.08, 0.03, [LDL], [ASPIRIN, SIMVASTATIN]),
  disease('49436004', 'Atrial fibrillation (disorder)', 0.04, 0.05, [], [ASPIRIN]),
  disease('84114007', 'Heart failure (disorder)', 0.035, 0.04, [CREATININE], [LISINOPRIL]),
  disease(
    '433144002',
    'Chronic kidney disease stage 3 (disorder)',
    0.07,
    0.05,
    [GFR, CREATININE],
    [LISINOPRIL],
  ),
  disease('35489007', 'Depressive disorder (disorder)', 0.09, 1.2),
  disease('396275006', 'Osteoarthritis (disorder)', 0.17, 0.05, [], [IBUPROFEN]),
  disease('64859006', 'Osteoporosis (disorder)', 0.06, 0.02, [], [ALENDRONATE]),
  disease('40930008', 'Hypothyroidism (disorder)', 0.05, 0.4),
  disease('37796009', 'Migraine (disorder)', 0.08, 1.4, [], [IBUPROFEN]),
  disease('233604007', 'Pneumonia (disorder)', 0.045, 0.5, [LEUKOCYTES, SATURATION], [AMOXICILLIN]),
  disease('91302008', 'Sepsis (disorder)', 0.015, 0.4, [LEUKOCYTES, CREATININE]),
  disease('230690007', 'Cerebrovascular accident (disorder)', 0.025, 0.05, [], [ASPIRIN]),
];
