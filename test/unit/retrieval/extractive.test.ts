import { beforeAll, describe, expect, it } from 'vitest';
import {
  createExtractiveAnswerer,
  type ExtractiveAnswerer,
  type ExtractiveEvent,
  type ExtractiveRequest,
  MATCH_RULE,
  NOTHING_MATCHES,
} from '../../../agent/llm/extractive.ts';
import { countTokens, tokensOf } from '../../../agent/llm/extractive/tokens.ts';
import { generateDocuments } from '../../../agent/records/sample/documents.ts';
import { createChoices } from '../../../agent/records/sample/random.ts';
import { createDocuments, type Documents } from '../../../agent/retrieval/documents.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { BLINDING_KEY } from '../../fixtures/fhir.ts';

const SOURCES = generateDocuments('north', createChoices('documents north'));

/** Questions a generated hospital's documents answer, and words the right quotation holds. */
const ANSWERED: readonly (readonly [string, string])[] = [
  ['How quickly should lactate be measured in sepsis?', 'Measure serum lactate within'],
  ['When do I give antibiotics in suspected sepsis?', 'broad-spectrum antibiotic within'],
  ['What is the target INR for atrial fibrillation on warfarin?', '2.0 to 3.0'],
  ['Should metformin be held before contrast?', 'Hold metformin'],
  ['door-to-needle time for thrombolysis', 'The door-to-needle time at this site'],
  ['What glucose target on the ward?', 'Keep capillary glucose between'],
  ['Which peak flow means a severe asthma attack?', 'A peak flow below half'],
  ['Can I use alcohol rub for Clostridioides difficile?', 'Alcohol rub is not enough'],
  ['How do I treat hypoglycaemia?', 'fast-acting carbohydrate'],
  ['blood pressure limit for thrombolysis', '185/110'],
  ['When should a urinary catheter be removed?', 'Review every urinary catheter'],
  ['What extension do I call for a needlestick injury?', 'Report a needlestick injury'],
  ['How long to stop direct oral anticoagulants before surgery?', '48 hours before surgery'],
  ['Is a swallow screen needed after a stroke?', 'nil by mouth until a swallow screen'],
  ['Who do I call if lactate stays high?', 'outreach team'],
  ['How often should the early warning score be repeated?', 'every 30 minutes'],
  ['sepsis', 'Suspect sepsis'],
];

/** Questions they do not answer, several with a word or two in common. */
const UNANSWERED = [
  'What is the capital of France?',
  'Write a poem about the sea',
  'How do I dose vancomycin in renal failure?',
  'chemotherapy regimen for breast cancer',
  'What time does the cafeteria open?',
  'How many patients have diabetes in your records?',
  'Tell me about quantum computing',
  'Translate this sentence into German',
  'appendectomy technique',
  'paediatric vaccination schedule',
  'Summarise the patient John Smith',
  'What is the weather tomorrow?',
  'When is my next shift?',
  'bone marrow transplant conditioning',
  'treatment of psoriasis with biologics',
  'maximum dose of paracetamol in children',
  'What is the dose of amiodarone?',
  'the of and',
  '?!',
  '',
];

const collect = async (answerer: ExtractiveAnswerer, request: ExtractiveRequest) => {
  const events: ExtractiveEvent[] = [];
  for await (const event of answerer.answer(request)) events.push(event);
  const text = events.flatMap((event) => (event.type === 'text' ? [event.text] : [])).join('');
  return { text, end: events.at(-1), events };
};

const ask = (content: string): ExtractiveRequest => ({ messages: [{ role: 'user', content }] });

describe('extractive-local', () => {
  let documents: Documents;
  let answerer: ExtractiveAnswerer;

  beforeAll(async () => {
    documents = createDocuments({ store: createMemoryStore(), blindingKey: BLINDING_KEY });
    for (const { fileName, text } of SOURCES) {
      await documents.put({
        name: fileName,
        title: text.slice(2, text.indexOf('\n')),
        class: 'internal',
        text,
      });
    }
    answerer = createExtractiveAnswerer(documents);
  });

  it.each(ANSWERED)('answers "%s" with the right quotation', async (question, words) => {
    expect((await collect(answerer, ask(question))).text).toContain(words);
  });

  it('puts the right quotation first nearly always', async () => {
    const answers = await Promise.all(
      ANSWERED.map(async ([question, words]) => {
        const { text } = await collect(answerer, ask(question));
        return text.split('\n\n')[1]?.includes(words) === true;
      }),
    );
    expect(answers.filter((first) => !first).length).toBeLessThanOrEqual(1);
  });

  it.each(UNANSWERED)('says that nothing matches "%s"', async (question) => {
    expect((await collect(answerer, ask(question))).text).toBe(NOTHING_MATCHES);
  });

  it('needs its threshold: without one, questions about something else get quotations', async () => {
    const lax = createExtractiveAnswerer(documents, { ...MATCH_RULE, coverageMin: 0, termsMin: 1 });
    const answers = await Promise.all(UNANSWERED.map((question) => collect(lax, ask(question))));
    expect(answers.filter(({ text }) => text !== NOTHING_MATCHES).length).toBeGreaterThan(5);
  });

  it('quotes word for word and cites the line where it stands', async () => {
    for (const [question] of ANSWERED) {
      const { text } = await collect(answerer, ask(question));
      const quotations = [...text.matchAll(/^"(.*)" \[(.*), line (\d+)\]$/gm)];
      expect(quotations.length).toBe(text.split('\n\n').length - 1);
      for (const [, quoted, place, line] of quotations) {
        const source = SOURCES.find((document) => document.text.startsWith(`# ${place!.split(', ')[0]}\n`))!;
        expect(source.text.split('\n')[Number(line) - 1]).toContain(quoted);
      }
    }
  });

  it('streams token by token and ends with counts that add up', async () => {
    const request: ExtractiveRequest = {
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'What is the weather?' },
        { role: 'assistant', content: 'I do not know.' },
        { role: 'user', content: ANSWERED[0]![0] },
      ],
    };
    const { text, events, end } = await collect(answerer, request);
    expect(text).toContain('lactate');
    expect(events.length - 1).toBe(countTokens(text));
    expect(end).toEqual({
      type: 'end',
      finishReason: 'stop',
      promptTokens: request.messages.reduce((sum, { content }) => sum + countTokens(content), 0),
      completionTokens: countTokens(text),
    });
    expect((await collect(answerer, request)).events).toEqual(events);
  });

  it('ends at the maximum of tokens and says so', async () => {
    const whole = await collect(answerer, ask(ANSWERED[0]![0]));
    const cut = await collect(answerer, { ...ask(ANSWERED[0]![0]), tokensMax: 9 });
    expect(cut.end).toMatchObject({ finishReason: 'length', completionTokens: 9 });
    expect(whole.text.startsWith(cut.text)).toBe(true);
    const exact = { ...ask(ANSWERED[0]![0]), tokensMax: countTokens(whole.text) };
    expect((await collect(answerer, exact)).end).toMatchObject({ finishReason: 'stop' });
    await expect(collect(answerer, { ...ask('x'), tokensMax: 0 })).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });

  it('stops when the caller goes away', async () => {
    const abort = new AbortController();
    let tokens = 0;
    const run = async () => {
      for await (const _ of answerer.answer({ ...ask(ANSWERED[0]![0]), signal: abort.signal })) {
        tokens += 1;
        if (tokens === 3) abort.abort();
      }
    };
    await expect(run()).rejects.toMatchObject({ code: 'cancelled' });
    expect(tokens).toBe(3);
  });

  it('needs a user message', async () => {
    const request: ExtractiveRequest = { messages: [{ role: 'system', content: 'x' }] };
    await expect(collect(answerer, request)).rejects.toMatchObject({ code: 'invalid_request' });
  });

  it('quotes nothing of a class it may not quote', async () => {
    const store = createDocuments({ store: createMemoryStore(), blindingKey: BLINDING_KEY });
    await store.put({
      name: 'a',
      title: 'A',
      class: 'confidential',
      text: 'The dragon lives in the cellar.',
    });
    const { text } = await collect(
      createExtractiveAnswerer(store),
      ask('Where does the dragon live in the cellar?'),
    );
    expect(text).toBe(NOTHING_MATCHES);
  });
});

describe('tokens', () => {
  it.each(['', ' ', 'a', 'two words', ' "quoted" [x, line 3]\n\n', 'été 2.5 mg/dL…  ', '病院 ok'])(
    'of "%s" join to it',
    (text) => {
      expect(tokensOf(text).join('')).toBe(text);
      expect(countTokens(text)).toBe(tokensOf(text).length);
    },
  );
});
