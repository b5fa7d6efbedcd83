/**
 * Everything that an eavesdropper on the coordinator's line records, everything that stands on the disks, and everything that the programs
 * log, searched for what must not be there. Each search is first shown to find what is there.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { fromBase64Url, toHex, utf8 } from '../../shared/bytes.ts';
import { openLevelStore } from '../../shared/store/level.ts';
import { type MockLlm, startMockLlm } from '../fixtures/mock-llm.ts';
import { type CommandResult, eventually, qfl, qflJson } from '../fixtures/processes.ts';
import { type RecordingProxy, startRecordingProxy, wordsIn } from '../fixtures/recording-proxy.ts';
import {
  type Answer,
  backendConfig,
  call,
  type Federation,
  type Site,
  startFederation,
} from './federation.ts';

const SITES = ['quillbrook-clinic', 'thornfield-hospital'] as const;
const PROMPT = 'May Mr Ottergale of bed 7 take zanthorexin with his marrowbane?';
const PROMPT_WORDS = ['Ottergale', 'zanthorexin', 'marrowbane'];
/** A word of the mock's answer. */
const ANSWER_WORDS = ['warfarin'];
const PATIENT = {
  resourceType: 'Patient',
  id: 'patient-xylo-7781',
  name: [{ family: 'Brambleworth', given: ['Xylophina'] }],
  gender: 'female',
  birthDate: '1951-07-23',
};
const CONDITION = {
  resourceType: 'Condition',
  id: 'condition-glimmer-1',
  subject: { reference: 'Patient/patient-xylo-7781' },
  code: { text: 'Glimmerpox syndrome', coding: [{ system: 'http://snomed.info/sct', code: '447799118' }] },
};
const PATIENT_WORDS = [
  'patient-xylo-7781',
  'Brambleworth',
  'Xylophina',
  '1951-07-23',
  'Glimmerpox',
  '447799118',
];
const DOCUMENT = 'The marmelophyte titration is repeated every nine hours.\n';
const DOCUMENT_WORDS = ['marmelophyte', 'every nine hours'];

let federation: Federation;
let mock: MockLlm;
let front: RecordingProxy;
let asker: Site;
let key: string;
const proxies: RecordingProxy[] = [];
const secrets: string[] = [];
const printedByImports: CommandResult[] = [];

/** The part of an API key that is stored nowhere: `qfl_`, 16 characters of id, `_`, the secret. */
const secretOf = (apiKey: string): string => apiKey.slice('qfl_'.length + 16 + 1);
const recorded = (): Buffer[] => proxies.flatMap((proxy) => [...proxy.payloads(), ...proxy.raw()]);
const filesOf = async (folder: string): Promise<string[]> => {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
};
/** All files of all homes. */
const disks = async (): Promise<Buffer[]> => {
  const homes = [federation.coordinator, ...federation.sites].map(({ home }) => home);
  const files = (await Promise.all(homes.map(filesOf))).flat();
  return Promise.all(files.map((file) => readFile(file)));
};
const chat = (model: string, extra: object = {}): Promise<Answer> =>
  call(`http://127.0.0.1:${front.port}/v1/chat/completions`, {
    key,
    body: { model, messages: [{ role: 'user', content: PROMPT }], ...extra },
  });

const writeInputs = async (folder: string): Promise<void> => {
  await mkdir(join(folder, 'fhir'), { recursive: true });
  await mkdir(join(folder, 'documents'));
  await writeFile(join(folder, 'fhir/Patient.ndjson'), `${JSON.stringify(PATIENT)}\n`);
  // The second line is cut in the middle of a name.
  await writeFile(
    join(folder, 'fhir/Condition.ndjson'),
    `${JSON.stringify(CONDITION)}\n{"resourceType":"Condition","code":{"text":"Glimmerpox`,
  );
  await writeFile(join(folder, 'documents/titration.md'), DOCUMENT);
};

/** Everything that a day brings: answers, refusals, faults, statistics. */
const useEverything = async (): Promise<void> => {
  const words = PROMPT_WORDS.join('-');
  const statuses = [
    (await chat('steady')).status,
    (await chat('steady', { stream: true })).status,
    (await chat('extractive-local')).status,
    (await chat('broken-one', { stream: true })).status,
    (await chat('picky-one')).status,
    (await chat(`nobody-${words}`)).status,
    (await chat('steady', { messages: [{ role: PROMPT, content: PROMPT }] })).status,
    (await call(`${asker.url}/v1/${words}?q=${words}`, { key })).status,
    (await call(`${asker.url}/v1/stats`, { key, body: { count: 'Condition', where: ['code=447799118'] } }))
      .status,
    (await call(`${asker.url}/v1/stats`, { key, body: { count: 'Condition', where: [`code=${PROMPT}`] } }))
      .status,
  ];
  expect(statuses).toEqual([200, 200, 200, 200, 400, 404, 400, 404, 200, expect.any(Number)]);
};

beforeAll(async () => {
  mock = await startMockLlm(['steady', 'broken-one', 'picky-one']);
  const through = async (url: string): Promise<string> => {
    const proxy = await startRecordingProxy(Number(new URL(url).port));
    proxies.push(proxy);
    return `http://127.0.0.1:${proxy.port}`;
  };
  federation = await startFederation({
    sites: [
      { name: SITES[0], through },
      { name: SITES[1], through, config: backendConfig('ward', mock.url) },
    ],
  });
  asker = federation.site(SITES[0]);
  const inputs = join(federation.folder, 'inputs');
  await writeInputs(inputs);
  const imported = await Promise.all(
    federation.sites.flatMap(({ home }) => [
      qfl(['agent', 'import', join(inputs, 'fhir'), '--home', home]).then(async (result) => {
        await qfl(['agent', 'documents', join(inputs, 'documents'), '--home', home]);
        return result;
      }),
    ]),
  );
  printedByImports.push(...imported);
  key = await asker.key('doctor');
  secrets.push(secretOf(key));
  for (const { token } of federation.sites) {
    const bytes = fromBase64Url(token.slice('qfljoin1.'.length));
    secrets.push(
      token.slice('qfljoin1.'.length + 24, 'qfljoin1.'.length + 60),
      toHex(bytes.subarray(16, 48)),
    );
  }
  secrets.push(secretOf(federation.adminKey));
  await eventually('both hold records', async () =>
    (await asker.status()).sites?.every(({ records }) => records),
  );
  front = await startRecordingProxy(Number(new URL(asker.url).port));
  await useEverything();
});
afterAll(async () => {
  await federation.close();
  await Promise.all([...proxies, front].map((proxy) => proxy.close()));
  await mock.close();
});

describe("the line to the coordinator's", () => {
  test('record is complete: it has all connections, unmasked', () => {
    expect(proxies.length).toBe(SITES.length);
    for (const proxy of proxies)
      expect(wordsIn(['fed-hs/1', '/socket.io/'], proxy.payloads())).toHaveLength(2);
    const bytes = recorded().reduce((sum, part) => sum + part.length, 0);
    expect(bytes).toBeGreaterThan(50_000);
  });
  test('search finds what travels readable: the same words on the line between client and agent', () => {
    expect(wordsIn([...PROMPT_WORDS, ...ANSWER_WORDS, secrets[0]!], front.payloads())).toEqual([
      ...PROMPT_WORDS,
      ...ANSWER_WORDS,
      secrets[0],
    ]);
  });
  test('record holds no name of a site', () => {
    expect(wordsIn(SITES, recorded())).toEqual([]);
  });
  test('record holds no question, no answer, no document', () => {
    expect(wordsIn([...PROMPT_WORDS, ...ANSWER_WORDS, ...DOCUMENT_WORDS], recorded())).toEqual([]);
  });
  test('record holds nothing of a patient, and no name of what is counted', () => {
    expect(wordsIn([...PATIENT_WORDS, 'Condition'], recorded())).toEqual([]);
  });
  test('record holds no API key and no token', () => {
    expect(wordsIn(secrets, recorded())).toEqual([]);
  });
  test('record holds no name of a model', () => {
    expect(wordsIn(['extractive-local', 'broken-one'], recorded())).toEqual([]);
  });
});

test('an import names the line that it skipped, not what stands there', () => {
  for (const { code, out, err } of printedByImports) {
    expect(code).toBe(0);
    expect(out).toContain('Condition.ndjson:2');
    expect(wordsIn(PATIENT_WORDS, [utf8(out + err)])).toEqual([]);
  }
});

describe('the disks', () => {
  const words = [...PROMPT_WORDS, ...ANSWER_WORDS, ...DOCUMENT_WORDS, ...PATIENT_WORDS];

  test('search finds what a plain store would show', async () => {
    const folder = join(federation.folder, 'plain');
    const store = await openLevelStore(folder);
    const puts = words.map((word, at) => ({ type: 'put' as const, key: `word/${at}`, value: utf8(word) }));
    await store.write(puts);
    await store.close();
    const files = await Promise.all((await filesOf(folder)).map((file) => readFile(file)));
    expect(wordsIn(words, files)).toEqual(words);
  });
  test('hold no question, no answer, no document, nothing of a patient', async () => {
    const bytes = await disks();
    expect(bytes.length).toBeGreaterThan(20);
    expect(wordsIn(words, bytes)).toEqual([]);
  });
  test('hold no API key and no token', async () => {
    expect(wordsIn(secrets, await disks())).toEqual([]);
  });
});

describe('the logs', () => {
  test('hold no question, no answer, no document, nothing of a patient, no key, no token', () => {
    const log = federation.printed();
    expect(log).toContain('"msg":"request"');
    expect(
      wordsIn(
        [...PROMPT_WORDS, ...ANSWER_WORDS, ...DOCUMENT_WORDS, ...PATIENT_WORDS, ...secrets],
        [utf8(log)],
      ),
    ).toEqual([]);
  });
  test('of the audit, exported, hold none of it either', async () => {
    const file = join(federation.folder, 'audit.tar');
    await qflJson(z.unknown(), ['audit', 'export', '--out', file, '--home', federation.coordinator.home]);
    const bytes = await readFile(file);
    expect(wordsIn(['chat.served'], [bytes])).toEqual(['chat.served']);
    expect(
      wordsIn([...PROMPT_WORDS, ...ANSWER_WORDS, ...DOCUMENT_WORDS, ...PATIENT_WORDS, ...secrets], [bytes]),
    ).toEqual([]);
  });
});
