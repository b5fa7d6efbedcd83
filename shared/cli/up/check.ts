/** `qfl up --check`: one of everything through the running federation, by the commands a user would type. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { QflError } from '../../errors.ts';
import { createHttpClient } from '../../http/client.ts';
import { readControlFile } from '../../http/control.ts';
import { TrainingResult } from '../../wire/training.ts';
import { qfl } from './children.ts';
import type { UpFederation, UpSite } from './federation.ts';

export interface CheckRow {
  readonly what: string;
  readonly ok: boolean;
  readonly tookMs: number;
  readonly found: string;
}

const Chat = z.looseObject({
  choices: z.array(z.looseObject({ message: z.looseObject({ content: z.string() }) })).min(1),
  qfl: z.looseObject({
    site: z.string(),
    plan: z.looseObject({ solver: z.string(), costMs: z.number(), boundMs: z.number() }).nullable(),
  }),
});
const Stats = z.looseObject({
  measures: z.tuple([
    z.looseObject({ value: z.string(), interval: z.looseObject({ low: z.string(), high: z.string() }) }),
  ]),
  complete: z.boolean(),
  sites: z.array(z.looseObject({ site: z.string(), status: z.string() })),
});
const Asked = z.looseObject({ answer: z.string() });
const Refusal = z.looseObject({
  error: z.looseObject({
    code: z.string(),
    detail: z.string().nullable(),
    facts: z.looseObject({ ledger: z.string() }).nullable(),
  }),
});

const need = (condition: boolean, found: string): string => {
  if (!condition) throw new QflError('internal', { detail: found });
  return found;
};

const askOptions = (site: UpSite, key = site.apiKey): string[] => ['--url', site.url, '--key', key, '--json'];

const chat = async (site: UpSite): Promise<string> => {
  const answer = Chat.parse(
    JSON.parse(
      await qfl([
        'query',
        'chat',
        'When should lactate be measured in suspected sepsis?',
        ...askOptions(site),
      ]),
    ),
  );
  const [choice] = answer.choices;
  const text = choice?.message.content ?? '';
  return need(
    text.includes('"'),
    `${text.length} characters, quoted, from ${answer.qfl.site}${answer.qfl.plan === null ? '' : ` (${answer.qfl.plan.solver}, cost ${answer.qfl.plan.costMs} ms, bound ${answer.qfl.plan.boundMs} ms)`}`,
  );
};

const count = async (federation: UpFederation, site: UpSite): Promise<string> => {
  const result = Stats.parse(
    JSON.parse(
      await qfl(['query', 'stats', '--count', 'Condition', '--where', 'code=44054006', ...askOptions(site)]),
    ),
  );
  const all = result.complete && result.sites.length === federation.sites.length;
  const [{ value, interval }] = result.measures;
  return need(
    all,
    `${value} patients (${interval.low} … ${interval.high}) from ${result.sites.length} sites`,
  );
};

const QUESTION = 'How common is hypertension among patients with diabetes?';

const question = async (site: UpSite): Promise<string> => {
  const { answer } = Asked.parse(JSON.parse(await qfl(['query', 'ask', QUESTION, ...askOptions(site)])));
  return need(answer.length > 0, answer);
};

/** A key whose department can pay for one large question, not for two. */
const researchKey = async (site: UpSite): Promise<string> => {
  const made = await qfl([
    'agent',
    'key',
    'create',
    '--role',
    'doctor',
    '--department',
    'research',
    '--name',
    'qfl up check',
    '--home',
    site.home,
    '--json',
  ]);
  return z.object({ key: z.string() }).parse(JSON.parse(made)).key;
};

const overBudget = async (site: UpSite): Promise<string> => {
  const key = await researchKey(site);
  const control = await readControlFile(site.home);
  const client = createHttpClient({
    baseUrl: control?.url ?? site.url,
    apiKey: key,
    env: process.env,
    timeoutMs: 60_000,
  });
  try {
    for (let asked = 1; asked <= 4; asked += 1) {
      try {
        await client.json('POST', '/v1/stats', z.unknown(), {
          body: { count: 'Condition', where: ['code=38341003'], epsilon: '1' },
        });
      } catch (error) {
        if (!(error instanceof QflError) || error.code !== 'budget_exceeded') throw error;
        const { error: shown } = Refusal.parse({
          error: { code: error.code, detail: error.detail ?? null, facts: error.facts ?? null },
        });
        return need(
          shown.facts !== null,
          `question ${asked} of ε 1 refused: ${shown.facts?.ledger} of department research`,
        );
      }
    }
    throw new QflError('internal', { detail: 'four questions of epsilon 1 passed a budget of 3' });
  } finally {
    await client.close();
  }
};

/** The policy comes from a hospital: whoever exports does not say whose signatures count. */
const exportAndVerify = async (federation: UpFederation, hospital: UpSite): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'qfl-check-'));
  try {
    const file = join(folder, 'audit.tar');
    const policy = join(folder, 'policy.txt');
    await qfl(['audit', 'policy', '--out', policy, '--home', hospital.home]);
    await qfl(['audit', 'export', '--out', file, '--home', federation.coordinator.home, '--json']);
    const report = z
      .looseObject({
        outcome: z.string(),
        logs: z.array(z.looseObject({ name: z.string(), size: z.number() })),
      })
      .parse(JSON.parse(await qfl(['audit', 'verify', file, '--policy', policy, '--json'])));
    const complete = report.logs.length === federation.sites.length + 2;
    return need(
      report.outcome === 'good' && complete,
      `${report.outcome}: ${report.logs.map(({ name, size }) => `${name} ${size}`).join(', ')}`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

const SEALED_SITES_MIN = 3;
/** Six hospitals stand two that drop out. */
const LOSING_SITES_MIN = 6;
/** What the others wait for hospitals that have stopped. */
const PATIENCE_S = 4;

/** One step of a training over all hospitals, in a round whose parts nobody can open. */
const sealedRound = async ({ coordinator, sites }: UpFederation, survivorsMin: number): Promise<string> => {
  const printed = await qfl([
    'round',
    'start',
    '--target',
    '44054006',
    '--feature',
    'age',
    '--epsilon',
    '0.5',
    '--rounds',
    '1',
    '--no-standardise',
    '--no-evaluate',
    '--patience',
    String(PATIENCE_S),
    '--department',
    'icu',
    '--site',
    ...sites.map(({ name }) => name),
    '--watch',
    '--json',
    '--home',
    coordinator.home,
  ]);
  const { steps } = TrainingResult.parse(JSON.parse(printed.slice(printed.lastIndexOf('\n{\n') + 1)));
  const [step] = steps;
  return need(
    step !== undefined && step.survivors === survivorsMin,
    `the sum of ${step?.survivors} of ${sites.length} hospitals, about ${step?.patients.toFixed(0)} patients; no single part was seen`,
  );
};

/** Two hospitals stop in the middle, as if the power were gone, and come back. */
const losingRound = async (federation: UpFederation): Promise<string> => {
  const gone = federation.sites.slice(-2).map(({ name }) => name);
  const pids = federation.services.filter(({ name }) => gone.includes(name)).map(({ pid }) => pid);
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  try {
    return await sealedRound(federation, federation.sites.length - gone.length);
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  }
};

type Step = [what: string, run: () => Promise<string>];

export const checkFederation = async (federation: UpFederation): Promise<CheckRow[]> => {
  const [first, second = first] = federation.sites;
  if (first === undefined || second === undefined)
    throw new QflError('invalid_request', { detail: 'a check needs a site' });
  const { length } = federation.sites;
  const steps: Step[] = [
    ['chat, planned and sealed', () => chat(first)],
    ['federated count', () => count(federation, first)],
    ['question over records', () => question(first)],
    ['over budget is refused', () => overBudget(second)],
  ];
  if (length >= SEALED_SITES_MIN) steps.push(['sealed round', () => sealedRound(federation, length)]);
  if (length >= LOSING_SITES_MIN) steps.push(['sealed round that loses two', () => losingRound(federation)]);
  steps.push(['audit export and offline check', () => exportAndVerify(federation, first)]);
  const rows: CheckRow[] = [];
  for (const [what, step] of steps) {
    const startedMs = performance.now();
    const outcome = await step().then(
      (found) => ({ ok: true, found }),
      (error: unknown) => ({ ok: false, found: error instanceof Error ? error.message : String(error) }),
    );
    rows.push({ what, ...outcome, tookMs: Math.round(performance.now() - startedMs) });
  }
  return rows;
};
