/**
 * Questions over the records of two generated hospitals, asked through the API and the command: from the words to the noisy answer, and
 * what may not be asked. One hospital has a language model of its own, played by a server that answers by fixed rules.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { CONCEPTS } from '../../agent/concepts/list.ts';
import { hospitalResources } from '../../agent/records/sample.ts';
import { AskAnswered, AskPlanned } from '../../shared/wire/ask.ts';
import { eventually, qfl } from '../fixtures/processes.ts';
import { truePersons, type TruePerson } from '../unit/ask/truth.ts';
import {
  type Answer,
  backendConfig,
  call,
  type Federation,
  type Site,
  startFederation,
} from './federation.ts';

const PATIENTS = 250;
const SITES = ['north', 'south'] as const;
/** Intervals miss with a probability of two in a hundred million. */
const CONFIDENCE = 1 - 1e-8;

const Budgets = z.looseObject({
  ledgers: z.array(z.looseObject({ ledger: z.string(), spentEpsilon: z.number() })),
});
const Prompt = z.looseObject({
  messages: z.array(z.looseObject({ role: z.string(), content: z.string() })),
});

/** Names metformin when a shard's extracts do; words an answer as told by `wording`. */
const startReader = async () => {
  const prompts: { system: string; user: string }[] = [];
  const state = { wording: 'About that many patients do.' };
  const server = createServer((request, response) => {
    const reply = (body: object) =>
      response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
    if (request.method === 'GET') {
      reply({ data: [{ id: 'reader', object: 'model' }] });
      return;
    }
    let text = '';
    request.setEncoding('utf8').on('data', (part: string) => (text += part));
    request.on('end', () => {
      const { messages } = Prompt.parse(JSON.parse(text));
      const [system = '', user = ''] = messages.map(({ content }) => content);
      prompts.push({ system, user });
      const content = system.startsWith('You word')
        ? state.wording
        : /metformin/i.test(user)
          ? '["metformin"]'
          : 'I cannot tell.';
      reply({ choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }] });
    });
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    prompts,
    state,
    close: () => new Promise((closed) => server.close(closed)),
  };
};

let federation: Federation;
let reader: Awaited<ReturnType<typeof startReader>>;
let north: Site;
let key: string;
const people = SITES.flatMap((site) => truePersons(hospitalResources({ site, patients: PATIENTS })));

const codesOf = (id: string): readonly string[] => CONCEPTS.byId(id)?.codes.map(({ code }) => code) ?? [];
const has = ({ codes }: TruePerson, ...ids: readonly string[]): boolean =>
  ids.some((id) => codesOf(id).some((code) => codes.has(code)));
const DIABETES = ['type-1-diabetes', 'type-2-diabetes', 'diabetes-unspecified'] as const;

const ask = (question: string, more: object = {}): Promise<Answer> =>
  call(`${north.url}/v1/ask`, {
    key,
    body: { question, epsilon: '0.5', confidence: CONFIDENCE, ...more },
  });
const answered = async (question: string, more: object = {}): Promise<AskAnswered> => {
  const answer = await ask(question, more);
  expect({ status: answer.status, body: answer.body }).toMatchObject({ status: 200 });
  return AskAnswered.parse(answer.body);
};
const spent = async (): Promise<number> => {
  const { ledgers } = Budgets.parse((await call(`${north.url}/privacy/budgets`, { key })).body);
  return ledgers.find(({ ledger }) => ledger === 'site_lifetime')?.spentEpsilon ?? Number.NaN;
};

beforeAll(async () => {
  reader = await startReader();
  federation = await startFederation({
    sites: [{ name: 'north', config: backendConfig('reader', reader.url) }, { name: 'south' }],
  });
  for (const name of SITES) {
    const folder = join(federation.folder, `sample-${name}`);
    await qfl(['agent', 'sample', folder, '--site', name, '--patients', String(PATIENTS)]);
    await qfl(['agent', 'import', join(folder, 'fhir'), '--home', federation.site(name).home]);
  }
  north = federation.site('north');
  key = await north.key('doctor', 'icu');
  await eventually('north knows that south has records', async () => {
    const { sites } = await north.status();
    return sites?.some(({ site, records }) => site === 'south' && records) === true;
  });
}, 60_000);
afterAll(async () => {
  await federation.close();
  await reader.close();
});

describe('a question about listed terms', () => {
  test('is answered by counts of both hospitals, each interval around the exact count', async () => {
    const result = await answered('How many patients with diabetes take metformin?');
    expect(result).toMatchObject({ method: 'concepts', form: 'count', complete: true, rewritten: false });
    expect(result.sites.map(({ site, status }) => ({ site, status }))).toEqual(
      SITES.map((site) => ({ site, status: 'answered' })),
    );
    const diabetics = people.filter((person) => has(person, ...DIABETES));
    const exact = (100 * diabetics.filter((person) => has(person, 'metformin')).length) / diabetics.length;
    expect(result.share?.low).toBeLessThanOrEqual(exact);
    expect(result.share?.high).toBeGreaterThanOrEqual(exact);
  });

  test('lists what enough patients have, and says what a fact needs to be visible', async () => {
    const result = await answered('Which medications do patients with diabetes take?', { k: 4 });
    expect(result.privacy).toMatchObject({ epsilonPerSite: 0.5, rhoPerSite: 0.125, sigmaPerSite: 4, k: 4 });
    const diabetics = people.filter((person) => has(person, ...DIABETES));
    for (const { id, interval } of result.items) {
      const exact = diabetics.filter((person) => has(person, id)).length;
      // A cut patient is missing, so the exact count can only be above the interval, and by no more than the cut ones.
      expect(exact).toBeGreaterThanOrEqual(Number(interval.low));
    }
    expect(result.items.map(({ id }) => id)).toContain('metformin');
    expect(result.explanation).toContain(`about ${result.visibility.reliableFrom} patients`);
    expect(result.explanation).toContain('not thereby absent');
    expect(result.answer).toContain('metformin');
    const again = await call(`${north.url}/v1/ask/${result.queryId}?confidence=${CONFIDENCE}`, { key });
    expect(again.body).toEqual(result);
  });

  test('costs what its method says, once; a dry run and a question that is not understood cost nothing', async () => {
    const before = await spent();
    const plan = AskPlanned.parse(
      (await ask('Which medications do patients with COPD take?', { dryRun: true, epsilon: '0.1' })).body,
    );
    expect(plan.privacy).toMatchObject({ epsilonPerSite: 0.1, sigmaPerSite: 20, k: 4 });
    expect(plan.privacy.rhoPerSite).toBeCloseTo(0.005, 12);
    expect(plan.sites).toEqual([...SITES]);
    const unknown = await ask('Which medications do smokers take?', { method: 'concepts' });
    expect(unknown.status).toBe(400);
    expect(JSON.stringify(unknown.body)).toContain('smokers');
    expect((await ask('Which medications do patients with COPD take?', { epsilon: '1.5' })).status).toBe(400);
    expect(await spent()).toBe(before);
    await answered('How common is asthma?', { epsilon: '0.1' });
    expect(await spent()).toBeGreaterThan(before);
  });

  test('needs the permission to measure', async () => {
    const nurse = await north.key('nurse', 'icu');
    const refused = await call(`${north.url}/v1/ask`, {
      key: nurse,
      body: { question: 'How common is asthma?' },
    });
    expect(refused.status).toBe(403);
  });

  test('comes out of the command in words and in JSON', async () => {
    const target = ['--url', north.url, '--key', key];
    const { out } = await qfl(['query', 'ask', 'How common is hypertension among women over 60?', ...target]);
    expect(out).toContain('women aged 60 or over');
    expect(out).toContain('not thereby absent');
    const json = await qfl(['query', 'ask', 'How common is gout?', '--dry-run', '--json', ...target]);
    expect(AskPlanned.parse(JSON.parse(json.out))).toMatchObject({ method: 'concepts', form: 'share' });
    expect((await qfl(['query', 'ask', '--terms', ...target])).out).toContain('metformin');
  }, 30_000);
});

describe('a question about one patient', () => {
  test.each([
    'Which medications does Zbigniew Wojciechowski take?',
    'Does patient 4711 have diabetes?',
    'Does Mrs Wojciechowska have sepsis?',
  ])('is refused, charges nothing and is written down nowhere: %s', async (question) => {
    const before = await spent();
    for (const method of ['auto', 'concepts', 'shards']) {
      const refused = await ask(question, { method });
      expect(refused.status).toBe(403);
      expect(JSON.stringify(refused.body)).toContain('access control');
    }
    expect(await spent()).toBe(before);
    expect(federation.printed()).not.toMatch(/Wojciechowsk|\b4711\b/);
    expect(reader.prompts.some(({ user }) => /Wojciechowsk|\b4711\b/.test(user))).toBe(false);
  });
});

describe('a free question', () => {
  const QUESTION = 'Which medications stabilise metformin users whose review is due?';

  test('goes shard by shard to the model inside the hospital, and only noisy shards come back', async () => {
    reader.state.wording = 'About as many shards as counted name metformin.';
    const result = await answered(QUESTION, { k: 1 });
    expect(result).toMatchObject({
      method: 'shards',
      form: 'list',
      rewritten: true,
      sites: [{ site: 'north', status: 'answered' }],
    });
    expect(result.visibility.unit).toBe('shards');
    // Something else may be shown as well, as noise has it: then its count is one that noise alone gives.
    const [shown, ...byChance] = result.items;
    expect(shown?.id).toBe('metformin');
    for (const { count: counted } of byChance)
      expect(Number(counted)).toBeLessThan(8 * result.privacy.sigmaPerSite);
    const shards = reader.prompts.filter(({ system }) => system.startsWith('You read'));
    expect(shards.length).toBeLessThanOrEqual(128);
    // The exact tally is within the noise: as many shards as named it.
    const named = shards.filter(({ user }) => /metformin/i.test(user)).length;
    expect(Math.abs(Number(result.items[0]!.count) - named)).toBeLessThan(10 * result.privacy.sigmaPerSite);
  });

  test('a rewrite that names what was not given is thrown away', async () => {
    reader.state.wording = 'Exactly 4321 patients also take warfarin.';
    const result = await answered(QUESTION, { k: 1 });
    expect(result.rewritten).toBe(false);
    expect(result.answer).toBe(result.facts);
    const wording = reader.prompts.find(({ system }) => system.startsWith('You word'));
    expect(wording?.user).toContain(QUESTION);
    // What the wording model sees is noisy: no line of a record.
    expect(wording?.user).not.toContain('Seen in clinic');
  });

  test('is refused where no model may read records', async () => {
    const southKey = await federation.site('south').key('doctor', 'icu');
    const refused = await call(`${federation.site('south').url}/v1/ask`, {
      key: southKey,
      body: { question: QUESTION, method: 'shards', sites: ['south'] },
    });
    expect(refused.status).toBe(400);
  });
});
