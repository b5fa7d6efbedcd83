import { describe, expect, test } from 'vitest';
import { isInsideSite } from '../../../agent/answer/ask-records/records-model.ts';
import { saysOnlyGiven } from '../../../agent/answer/ask-records/rewrite.ts';
import { CONCEPTS } from '../../../agent/concepts/list.ts';
import { createTermFinder } from '../../../agent/concepts/match.ts';

const find = createTermFinder(CONCEPTS);
const GIVEN =
  'Which medications do patients with diabetes take? metformin: about 600 patients (545 to 655), 30.5 % (28 % to 33 %)';

describe('a rewrite', () => {
  test.each([
    'About 600 patients with diabetes take metformin.',
    'Among patients with diabetes, metformin is taken by about 600 (545 to 655), that is 30.5 %.',
    'Metformin is the only one that could be seen.',
  ])('that says what was given stands: %s', (text) => {
    expect(saysOnlyGiven(text, GIVEN, find)).toBe(true);
  });

  test.each([
    'About 600 patients take metformin, some also warfarin.',
    'About 601 patients take metformin.',
    'About 1,600 patients take metformin.',
    'About 60.5 % take metformin.',
    'Two hundred patients take metformin.',
    'Half of the patients take metformin.',
    'Metformin is common in patients with hypertension.',
  ])('that says more is thrown away: %s', (text) => {
    expect(saysOnlyGiven(text, GIVEN, find)).toBe(false);
  });
});

describe('records go to a model inside the site only', () => {
  test.each([
    'http://localhost:11434/v1',
    'http://127.0.0.1:8080/v1',
    'http://10.1.2.3/v1',
    'http://172.20.0.4:8000/v1',
    'https://192.168.7.7/v1',
    'http://[::1]:8000/v1',
    'http://[fd00::7]:8000/v1',
    'http://gpu-box:8000/v1',
    'https://llm.hospital.internal/v1',
  ])('%s is inside', (url) => {
    expect(isInsideSite(url)).toBe(true);
  });

  test.each([
    'https://api.example.com/v1',
    'http://8.8.8.8/v1',
    'http://172.32.0.1/v1',
    'http://[2001:db8::1]/v1',
    'https://internal.example.com/v1',
    'https://localhost.example.com/v1',
  ])('%s is not', (url) => {
    expect(isInsideSite(url)).toBe(false);
  });
});
