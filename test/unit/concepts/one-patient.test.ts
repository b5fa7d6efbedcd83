import { describe, expect, test } from 'vitest';
import { createKnownWords } from '../../../agent/concepts/known-words.ts';
import { CONCEPTS } from '../../../agent/concepts/list.ts';
import { onePatientRefusal, onePatientSign } from '../../../agent/concepts/one-patient.ts';

const known = createKnownWords(CONCEPTS);
const signOf = (question: string) => onePatientSign(question, known);

describe('a question about one patient', () => {
  test.each([
    ['What does Patient/8f14e45f-ceea take?', 'reference'],
    ['Which medications does patient 123 take?', 'reference'],
    ['Does patient no. 4711 have diabetes?', 'reference'],
    ['Does patient ID AB-12 have diabetes?', 'reference'],
    ['What is wrong with the patient in bed 4?', 'reference'],
    ['Which medications are given in room 12?', 'reference'],
    ['What are the diagnoses of MRN 004711?', 'identifier'],
    ['Show MRN-12', 'identifier'],
    ['Which drugs for NHS number 943 476 5919?', 'identifier'],
    ['conditions of 943 476 5919', 'identifier'],
    ['conditions of 9434765919', 'identifier'],
    ['has 078-05-1120 been here', 'identifier'],
    ['does hospital number X99 have sepsis', 'identifier'],
    ['which medications does a.person@example.org take', 'identifier'],
    ['Which medications does the woman born on 12/03/1950 take?', 'date_of_birth'],
    ['women born 1950-03-12 with diabetes', 'date_of_birth'],
    ['the man born on 3 May 1948: which conditions?', 'date_of_birth'],
    ['patient with DOB 1.2.1960', 'date_of_birth'],
    ['Does Mrs Miller have diabetes?', 'title'],
    ['which medications does mr. jones take', 'title'],
    ['Ms Nowak: which conditions?', 'title'],
    ['Welche Medikamente nimmt Frau Schulz?', 'title'],
    ['Does this patient have sepsis?', 'this_patient'],
    ['what should my patient take', 'this_patient'],
    ['Does my mother have diabetes?', 'this_patient'],
    ['the patient called Zed', 'this_patient'],
    ['Does John Smith have diabetes?', 'name'],
    ['which medications does maria take', 'name'],
    ['Which medications does Kowalska take?', 'name'],
    ['Is Nguyen on warfarin?', 'name'],
    ["What is Oduya's potassium?", 'name'],
    ['Which conditions are on record for Zbigniew Wojciechowski?', 'name'],
    ["Kowalska's medications", 'name'],
    ['Tell me about Kowalska', 'name'],
  ] as const)('is told: %s', (question, sign) => {
    expect(signOf(question)).toBe(sign);
  });

  test.each([
    'Which medications do patients with diabetes take?',
    'How common is hypertension among women over 60 with heart failure?',
    "Which medications do patients with Parkinson's disease take?",
    'How many patients have Parkinson disease?',
    'How common is Crohn disease?',
    "How common is Crohn's disease in women?",
    "Do patients with Alzheimer's usually take galantamine?",
    'What share of patients have Hashimoto disease?',
    "How common is Down's syndrome?",
    "How many patients have Bell's palsy?",
    'How common is Guillain-Barré syndrome?',
    'Do patients with Sjögren syndrome have arthritis?',
    'What is the usual Glasgow coma score?',
    'How common is MS in women?',
    'Which Medications Do Patients With Type 2 Diabetes Take?',
    'WHICH MEDICATIONS DO PATIENTS WITH DIABETES TAKE?',
    'How many patients aged 60 to 80 have COPD?',
    'How many patients were born before 1950?',
    'How many patients 65 years or older take aspirin?',
    'How many patients with SNOMED 44054006 take metformin?',
    'How common is RxNorm code 860975?',
    'Is COVID-19 common in patients with asthma?',
    'Do European patients with Type 2 diabetes take Metformin?',
    'Which antibiotics do children with otitis media receive in January?',
    'Is Lasix common in patients with heart failure?',
    'Do any patients miss dialysis?',
    'Does metformin cause lactic acidosis in patients with diabetes?',
  ])('is not seen in: %s', (question) => {
    expect(signOf(question)).toBeUndefined();
  });

  test('is refused without a word of it, and with the way that is right', () => {
    const error = onePatientRefusal('name');
    expect(error.code).toBe('one_patient');
    expect(error.detail).toContain('access control');
    expect(error.next).toContain('record system');
    expect(error.facts).toEqual({ sign: 'name' });
  });
});
