/** Words that stand for any of several terms. */
import type { UmbrellaRow } from './list.ts';

export const UMBRELLAS: readonly UmbrellaRow[] = [
  [
    ['diabetes', 'diabetes mellitus', 'diabetic'],
    ['type-1-diabetes', 'type-2-diabetes', 'diabetes-unspecified'],
  ],
  [
    ['chronic kidney disease', 'ckd', 'chronic renal failure', 'renal failure'],
    ['ckd-1', 'ckd-2', 'ckd-3', 'ckd-4', 'ckd-5', 'ckd-unspecified'],
  ],
  [
    ['cancer', 'malignancy'],
    ['lung-cancer', 'breast-cancer', 'prostate-cancer', 'colorectal-cancer'],
  ],
  [
    ['inflammatory bowel disease', 'ibd'],
    ['crohn', 'ulcerative-colitis'],
  ],
  [
    ['statin', 'statins'],
    ['simvastatin', 'atorvastatin', 'rosuvastatin'],
  ],
  [['ace inhibitor'], ['lisinopril', 'ramipril', 'enalapril']],
  [['beta blocker'], ['metoprolol', 'bisoprolol', 'carvedilol']],
  [['diuretic'], ['hydrochlorothiazide', 'furosemide', 'spironolactone']],
  [
    ['anticoagulant', 'blood thinner'],
    ['warfarin', 'apixaban', 'rivaroxaban'],
  ],
  [
    ['antibiotic'],
    ['amoxicillin', 'amoxicillin-clavulanate', 'penicillin-v', 'nitrofurantoin', 'cefuroxime', 'vancomycin'],
  ],
  [['opioid'], ['oxycodone', 'pethidine']],
  [['nsaid'], ['ibuprofen', 'naproxen']],
  [
    ['antidepressant', 'ssri'],
    ['sertraline', 'citalopram'],
  ],
  [
    ['proton pump inhibitor', 'ppi'],
    ['omeprazole', 'pantoprazole'],
  ],
  [
    ['inhaled steroid', 'inhaled corticosteroid'],
    ['budesonide', 'fluticasone'],
  ],
  [['troponin'], ['troponin-i', 'troponin-t']],
];
