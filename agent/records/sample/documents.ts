/**
 * Internal documents of a generated hospital: short protocols written for this project. They read like the real
 * thing and are not: every file says that it is demonstration text and no medical advice. Figures that hospitals set
 * for themselves differ a little from site to site.
 */
import type { Choices } from './random.ts';

export interface GeneratedDocument {
  readonly fileName: string;
  readonly text: string;
}

const NOTICE = 'Demonstration text, generated. Not medical advice; not for use in care.';

interface SiteFigures {
  readonly site: string;
  readonly lactateMinutes: number;
  readonly antibioticMinutes: number;
  readonly glucoseHigh: number;
  readonly phone: number;
  readonly doorToNeedleMinutes: number;
  readonly observationHours: number;
  readonly auditMonths: number;
}

const figuresOf = (site: string, choices: Choices): SiteFigures => ({
  site,
  lactateMinutes: choices.pick([30, 45, 60]),
  antibioticMinutes: choices.pick([45, 60]),
  glucoseHigh: choices.pick([180, 190, 200]),
  phone: choices.between(2000, 7999),
  doorToNeedleMinutes: choices.pick([40, 45, 60]),
  observationHours: choices.pick([4, 6]),
  auditMonths: choices.pick([3, 6, 12]),
});

const page = (figures: SiteFigures, title: string, body: string): string =>
  `# ${title}\n\n> Site ${figures.site}. ${NOTICE}\n\n${body.trim()}\n`;

const sepsis = (f: SiteFigures): string => `
## Recognition

Suspect sepsis in any adult with signs of infection and a new change in breathing, circulation or consciousness.
Measure the early warning score at the bedside and repeat it every 30 minutes until a senior clinician has reviewed the patient.

## First hour

- Take two sets of blood cultures before the first antibiotic dose.
- Measure serum lactate within ${f.lactateMinutes} minutes of recognition and repeat it if the first value is above 2 mmol/L.
- Give the first dose of a broad-spectrum antibiotic within ${f.antibioticMinutes} minutes of recognition.
- Start 500 mL of balanced crystalloid over 15 minutes if the systolic pressure is below 90 mmHg.

## Escalation

Call the intensive care outreach team on extension ${f.phone} when lactate stays above 4 mmol/L or the pressure does not respond to fluid.
Review the antibiotic choice after 48 hours together with the culture results.
`;

const diabetes = (f: SiteFigures): string => `
## Targets

Keep capillary glucose between 110 and ${f.glucoseHigh} mg/dL in adults on a general ward.
Measure HbA1c on admission unless a value from the last three months is on record.

## Insulin

- Check capillary glucose before each meal and at bedtime in every patient who receives insulin.
- Hold metformin when the estimated glomerular filtration rate is below 30 mL/min or before contrast imaging.
- Reduce the basal insulin dose by 20 percent after any unexplained hypoglycaemia.

## Hypoglycaemia

Treat a glucose below 70 mg/dL with 15 g of fast-acting carbohydrate and measure again after 15 minutes.
Give 1 mg of intramuscular glucagon when the patient cannot swallow safely and has no intravenous access.
`;

const stroke = (f: SiteFigures): string => `
## Arrival

Record the time the patient was last seen well before anything else is asked.
Perform a non-contrast CT of the head at once in every patient with a suspected acute stroke.

## Thrombolysis

- Decide on thrombolysis within 4.5 hours of the time last seen well.
- The door-to-needle time at this site is ${f.doorToNeedleMinutes} minutes or less.
- Do not start thrombolysis while the blood pressure is above 185/110 mmHg.

## After treatment

Repeat the neurological examination every 15 minutes for two hours, then every hour until the next day.
Keep the patient nil by mouth until a swallow screen has been passed.
`;

const anticoagulation = (f: SiteFigures): string => `
## Before starting

Measure creatinine, haemoglobin and platelets before the first dose of any anticoagulant.
Estimate the bleeding risk in writing for every patient with atrial fibrillation.

## Warfarin

- The usual target INR for atrial fibrillation is 2.0 to 3.0.
- Measure the INR every day until two consecutive values are in range.
- Omit the next dose and call the anticoagulation clinic on extension ${f.phone + 11} when the INR is above 5.0.

## Procedures

Stop direct oral anticoagulants 48 hours before surgery with a high bleeding risk.
Restart the anticoagulant only after the operating team has confirmed haemostasis in the notes.
`;

const hypertension = (f: SiteFigures): string => `
## Measurement

Confirm a raised clinic pressure with home or ambulatory readings before a diagnosis of hypertension is recorded.
Use a cuff that covers four fifths of the upper arm.

## Treatment

- Offer lisinopril first to adults with diabetes and albuminuria unless there is a history of angioedema.
- Check potassium and creatinine one to two weeks after starting or raising an ACE inhibitor.
- Aim for a clinic pressure below 140/90 mmHg in adults under 80 years.

## Emergency

Treat a pressure above 180/120 mmHg with new organ damage as an emergency and admit to a monitored bed.
The duty cardiologist can be reached on extension ${f.phone + 23}.
`;

const asthma = (f: SiteFigures): string => `
## Severity

A peak flow below half of the best value, or a patient who cannot finish a sentence, is a severe asthma attack.
A silent chest or an oxygen saturation below 92 percent is life-threatening.

## Treatment

- Give oxygen to keep the saturation between 94 and 98 percent.
- Give nebulised salbutamol 5 mg and repeat it every 20 minutes while the attack is severe.
- Give prednisolone 40 mg by mouth within the first hour and continue it for five days.

## Discharge

Observe the patient for ${f.observationHours} hours after the last nebuliser before discharge.
Check the inhaler technique and hand over a written action plan before the patient leaves.
`;

const handover = (f: SiteFigures): string => `
## Ward handover

Hand over at the bedside with the four headings situation, background, assessment and recommendation.
The nurse who receives the patient repeats allergies and open orders aloud.

## Transfer

- A patient with an early warning score of 5 or more is moved only with a clinician who can manage the airway.
- Send the medication chart with the patient and never afterwards.

## Records

Late entries carry the time of writing and the time of the event.
The quality team audits twenty handovers every ${f.auditMonths} months and reports the result to the ward.
`;

const infectionControl = (f: SiteFigures): string => `
## Hands

Clean hands before and after every contact with a patient, including contact with the bed space.
Alcohol rub is not enough after care for a patient with Clostridioides difficile; wash with soap and water.

## Isolation

- Place a patient with suspected influenza in a single room and wear a surgical mask within two metres.
- Keep contact precautions for multidrug-resistant bacteria until three screens in a row are negative.

## Devices

Review every urinary catheter and every peripheral line each day and remove what is no longer needed.
Report a needlestick injury to occupational health on extension ${f.phone + 37} without delay.
`;

const DOCUMENTS = [
  ['sepsis.md', 'Adult sepsis protocol', sepsis],
  ['diabetes.md', 'Inpatient diabetes guideline', diabetes],
  ['stroke.md', 'Acute stroke pathway', stroke],
  ['anticoagulation.md', 'Anticoagulation guideline', anticoagulation],
  ['hypertension.md', 'Hypertension guideline', hypertension],
  ['asthma.md', 'Acute asthma protocol', asthma],
  ['handover.md', 'Handover and transfer standard', handover],
  ['infection-control.md', 'Infection control standard', infectionControl],
] as const;

export const generateDocuments = (site: string, choices: Choices): readonly GeneratedDocument[] => {
  const figures = figuresOf(site, choices);
  return DOCUMENTS.map(([fileName, title, body]) => ({
    fileName,
    text: page(figures, title, body(figures)),
  }));
};
