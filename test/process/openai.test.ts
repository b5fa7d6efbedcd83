/** An unchanged OpenAI client against an agent: what it asks another hospital's model travels sealed, and comes back whole or as an error. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import OpenAI, {
  APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
} from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ANSWER, type MockLlm, startMockLlm, TOKENS, TOOL_CALL, USAGE } from '../fixtures/mock-llm.ts';
import { eventually, qfl, qflError } from '../fixtures/processes.ts';
import { backendConfig, call, type Federation, startFederation } from './federation.ts';
import { asks, factsOf, failure, readStream } from './openai-client.ts';

const MODELS = ['steady', 'held-one', 'broken-one', 'short-one', 'picky-one', 'tools-one', 'shared-model'];
const CHATS = 20;
const ROLES = `security:
  role_permissions:
    doctor: [query, planning, measurement]
    nurse: [query, basic_planning]
    researcher: [query]
    admin: [all]
    viewer: []
`;
const DOCUMENT = `# Heparin

Heparin infusions are checked every six hours with the anti-Xa assay.
`;

let federation: Federation;
let bravo: MockLlm;
let charlie: MockLlm;
let doctor: OpenAI;
let doctorKey: string;
let restricted: OpenAI;

const clientOf = (site: string, apiKey: string): OpenAI =>
  new OpenAI({ baseURL: `${federation.site(site).url}/v1`, apiKey, maxRetries: 0 });

beforeAll(async () => {
  [bravo, charlie] = await Promise.all([startMockLlm(MODELS), startMockLlm(['shared-model'])]);
  federation = await startFederation({
    sites: [
      { name: 'alpha', config: ROLES },
      { name: 'bravo', config: backendConfig('wardserver', bravo.url) },
      { name: 'charlie', config: backendConfig('labserver', charlie.url) },
    ],
  });
  const alpha = federation.site('alpha');
  const documents = join(federation.folder, 'documents');
  await mkdir(documents);
  await writeFile(join(documents, 'heparin.md'), DOCUMENT);
  const [confidentialKey, restrictedKey] = await Promise.all([
    alpha.key('doctor', 'icu', 'confidential'),
    alpha.key('doctor', 'icu', 'restricted', 'restricted doctor'),
    qfl(['agent', 'documents', documents, '--home', alpha.home]),
  ]);
  doctorKey = confidentialKey;
  doctor = clientOf('alpha', confidentialKey);
  restricted = clientOf('alpha', restrictedKey);
});
afterAll(async () => {
  await federation.close();
  await Promise.all([bravo.close(), charlie.close()]);
});

describe('models', () => {
  test('list: those of this site and of every other', async () => {
    const ids: string[] = [];
    for await (const { id } of doctor.models.list()) ids.push(id);
    expect(ids).toEqual(expect.arrayContaining(['extractive-local', ...MODELS]));
    expect(new Set(ids).size).toBe(ids.length);
  });
  test('retrieve', async () => {
    expect(await doctor.models.retrieve('steady')).toMatchObject({ id: 'steady', object: 'model' });
    expect(await failure(doctor.models.retrieve('nobody-has-it'))).toBeInstanceOf(NotFoundError);
  });
});

describe('the embedded answerer', () => {
  test('quotes an internal document, the same streamed and whole, at its own site', async () => {
    const question = 'How often are heparin infusions checked?';
    const whole = await restricted.chat.completions.create(asks('extractive-local', question));
    const text = whole.choices[0]?.message.content ?? '';
    expect(text).toContain('checked every six hours with the anti-Xa assay');
    expect(factsOf(whole).site).toBe('alpha');
    const stream = await restricted.chat.completions.create({
      ...asks('extractive-local', question),
      stream: true,
    });
    let streamed = '';
    for await (const chunk of stream) streamed += chunk.choices[0]?.delta.content ?? '';
    expect(streamed).toBe(text);
  });
});

describe('a model of another site', () => {
  test('answers whole', async () => {
    const answer = await doctor.chat.completions.create(asks('steady'));
    expect(answer.choices[0]?.message.content).toBe(ANSWER);
    expect(answer.usage).toEqual(USAGE);
    expect(factsOf(answer)).toMatchObject({ site: 'bravo', plan: { site: 'bravo' } });
    expect(bravo.asked.at(-1)).toEqual(asks('steady'));
  });
  test('streams its tokens, and usage where it is asked for', async () => {
    const stream = await doctor.chat.completions.create({
      ...asks('steady'),
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let usage: unknown;
    let pieces = 0;
    for await (const chunk of stream) {
      const content = chunk.choices[0]?.delta.content ?? '';
      if (content !== '') pieces += 1;
      text += content;
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(ANSWER);
    expect(pieces).toBe(TOKENS.length);
    expect(usage).toEqual(USAGE);
  });
  test("delivered whole, is a success in the coordinator's books", async () => {
    const books = async (): Promise<{ ok: number; failed: number }> => {
      const text = z.string().parse((await call(`${federation.coordinator.url}/metrics`)).body);
      const of = (outcome: string): number =>
        Number(
          new RegExp(`relayed_queries_total\\{outcome="${outcome}"[^}]*\\} (\\d+)`).exec(text)?.[1] ?? 0,
        );
      return { ok: of('ok'), failed: of('failed') };
    };
    const before = await books();
    for (let asked = 0; asked < CHATS; asked += 1)
      expect(await readStream(doctor, 'steady')).toEqual({ text: ANSWER, error: undefined });
    await eventually('all are counted', async () => {
      const { ok, failed } = await books();
      return ok + failed === before.ok + before.failed + CHATS;
    });
    expect((await books()).failed).toBe(before.failed);
  });
  test('gets tools, response format and fields that nobody here knows as they were sent; tool calls come back', async () => {
    const request = {
      ...asks('tools-one'),
      tools: [
        {
          type: 'function' as const,
          function: {
            name: 'lookup_dose',
            parameters: { type: 'object', properties: { drug: { type: 'string' } } },
          },
        },
      ],
      tool_choice: 'auto' as const,
      response_format: { type: 'json_object' as const },
      temperature: 0.25,
      seed: 7,
      metadata: { ward: 'east' },
      a_field_of_tomorrow: { nested: [1, 2, 3] },
    };
    const answer = await doctor.chat.completions.create(request);
    expect(bravo.asked.at(-1)).toEqual(request);
    expect(answer.choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { tool_calls: [TOOL_CALL] },
    });
  });
  test('is told when the asker goes away', async () => {
    const abortedBefore = bravo.aborted;
    const controller = new AbortController();
    const stream = await doctor.chat.completions.create(
      { ...asks('held-one'), stream: true },
      { signal: controller.signal },
    );
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content !== undefined) controller.abort();
    await eventually('the back end lost its reader', () => bravo.aborted > abortedBefore);
    expect(bravo.open).toBe(0);
  });
  test.each(['broken-one', 'short-one'])(
    'that stops in the middle (%s) is an error, not a short answer',
    async (model) => {
      const { text, error } = await readStream(doctor, model);
      expect(error).toBeInstanceOf(APIError);
      expect(ANSWER.startsWith(text)).toBe(true);
      expect(text).not.toBe(ANSWER);
    },
  );
  test('that stops in the middle at its own site is an error as well', async () => {
    const own = clientOf('bravo', await federation.site('bravo').key('doctor'));
    const { text, error } = await readStream(own, 'broken-one');
    expect(error).toBeInstanceOf(APIError);
    expect(text).not.toBe(ANSWER);
  });
  test('no [DONE] follows a cut answer', async () => {
    const answer = await call(`${federation.site('alpha').url}/v1/chat/completions`, {
      key: doctorKey,
      body: { ...asks('broken-one'), stream: true },
    });
    expect(answer.body).not.toContain('[DONE]');
    expect(answer.body).toContain('"code":"cut"');
  });
});

describe('errors have the shapes that the client knows', () => {
  test('no key, wrong key', async () => {
    const answer = await call(`${federation.site('alpha').url}/v1/chat/completions`, {
      body: asks('steady'),
    });
    expect(answer).toMatchObject({ status: 401, body: { error: { type: 'authentication_error' } } });
    const wrong = clientOf('alpha', 'qfl_0000000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA');
    expect(await failure(wrong.chat.completions.create(asks('steady')))).toBeInstanceOf(AuthenticationError);
  });
  test('a model that nobody offers', async () => {
    const error = await failure(doctor.chat.completions.create(asks('nobody-has-it')));
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error).toMatchObject({ code: 'model_not_found' });
  });
  test('a body that is not a chat', async () => {
    const error = await failure(doctor.chat.completions.create({ model: 'steady', messages: [] }));
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ param: 'body.messages' });
  });
  test('a request that the back end finds wrong, in its own words', async () => {
    const error = await failure(doctor.chat.completions.create({ ...asks('picky-one'), temperature: 9 }));
    expect(error).toBeInstanceOf(BadRequestError);
    expect(String(error)).toContain('temperature must be at most 2');
  });
});

describe('who may ask what', () => {
  test('a restricted question stays at its site, and says so when it cannot be served there', async () => {
    const askedBefore = bravo.asked.length;
    const error = await failure(restricted.chat.completions.create(asks('steady')));
    expect(error).toBeInstanceOf(InternalServerError);
    expect(error).toMatchObject({ code: 'stays_local' });
    expect(String(error)).toMatch(/may not leave this site/);
    expect(bravo.asked.length).toBe(askedBefore);
  });
  test('a class above the key is refused; below it is taken', async () => {
    const above = doctor.chat.completions.create(asks('steady'), {
      headers: { 'x-qfl-data-class': 'restricted' },
    });
    expect(await failure(above)).toBeInstanceOf(PermissionDeniedError);
    const below = await doctor.chat.completions.create({
      ...asks('steady'),
      metadata: { data_class: 'public' },
    });
    expect(below).toMatchObject({ qfl: { data_class: 'public' } });
  });
  test('nurse, researcher, viewer', async () => {
    const alpha = federation.site('alpha');
    const [nurse, researcher, viewer] = await Promise.all([
      alpha.key('nurse', 'surgery'),
      alpha.key('researcher', 'research', 'internal'),
      alpha.key('viewer', 'general', 'public'),
    ]);
    const count = (key: string) => call(`${alpha.url}/v1/stats`, { key, body: { count: 'Condition' } });
    const chat = (key: string, headers = {}) =>
      failure(clientOf('alpha', key).chat.completions.create(asks('steady'), { headers }));
    expect(await chat(nurse)).toBeUndefined();
    expect(await count(nurse)).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(await chat(researcher)).toBeUndefined();
    expect(await chat(researcher, { 'x-qfl-data-class': 'confidential' })).toBeInstanceOf(
      PermissionDeniedError,
    );
    expect(await count(researcher)).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(await chat(viewer)).toBeInstanceOf(PermissionDeniedError);
    expect(await failure(clientOf('alpha', viewer).models.list())).toBeInstanceOf(PermissionDeniedError);
  });
  test('a researcher whose key says confidential still sends at most internal', async () => {
    const key = await federation
      .site('alpha')
      .key('researcher', 'research', 'confidential', 'other researcher');
    expect(await failure(clientOf('alpha', key).chat.completions.create(asks('steady')))).toBeInstanceOf(
      PermissionDeniedError,
    );
  });
  test('there is no key for a role that no table knows', async () => {
    const error = await qflError([
      'agent',
      'key',
      'create',
      '--home',
      federation.site('alpha').home,
      '--role',
      'wizard',
      '--department',
      'icu',
    ]);
    expect(error.code).toBe('invalid_request');
    expect(error.next).toContain('doctor');
  });
});

describe('a back end that refuses', () => {
  /** Asks twice: the second time, the site of the first answer is out of order. True when the plan met its refusal and moved on. */
  const movesOn = async (): Promise<boolean> => {
    const first = factsOf(await doctor.chat.completions.create(asks('shared-model'))).site;
    const broken = first === 'bravo' ? bravo : charlie;
    broken.refusing = true;
    try {
      const second = await doctor.chat.completions.create(asks('shared-model'));
      expect(second.choices[0]?.message.content).toBe(ANSWER);
      const { site, plan } = factsOf(second);
      expect(site).not.toBe(first);
      return (
        plan?.refusals.some((refusal) => refusal.site === first && refusal.code === 'backend_failed') === true
      );
    } finally {
      broken.refusing = false;
    }
  };
  test('at one site: the next candidate answers', async () => {
    expect(await eventually('a plan that moved on after a refusal', movesOn)).toBe(true);
  });
  test('everywhere: one clear refusal', async () => {
    bravo.refusing = true;
    charlie.refusing = true;
    try {
      const error = await failure(doctor.chat.completions.create(asks('shared-model')));
      expect(error).toMatchObject({ status: 503, code: 'site_unavailable' });
      expect(String(error)).toContain('every candidate refused');
    } finally {
      bravo.refusing = false;
      charlie.refusing = false;
    }
  });
});

test('no program logged a question', () => {
  expect(federation.printed()).not.toContain('zanthorexin');
});
