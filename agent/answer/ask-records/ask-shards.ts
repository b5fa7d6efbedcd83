/**
 * One model call per shard. Whatever a model does with a shard's text becomes at most k entries of a closed list, and nothing of one
 * shard's call reaches another's: each has a fixed time of its own from its own start, and late, broken or chatty answers are empty.
 */
import { z } from 'zod';
import { abortedBy } from '../../../shared/errors.ts';
import type { Concept } from '../../concepts/list.ts';

/** One completion for one prompt. Stateless: what it answers depends on this call alone. */
export type ShardModel = (prompt: ShardPrompt, signal: AbortSignal) => Promise<string>;

export interface ShardPrompt {
  readonly system: string;
  readonly user: string;
}

export interface ShardTask {
  readonly question: string;
  /** Terms that may be named; empty for yes and no. */
  readonly terms: readonly Concept[];
  readonly k: number;
}

export interface ShardTiming {
  /** From the start of a call to its end; the same for every shard. */
  readonly timeoutMs: number;
  /** Shards asked side by side, at most as many as the back end runs at once, so that none waits for another. */
  readonly lanes: number;
}

const Named = z.array(z.string().max(200)).max(1_000);
const ANSWER_LENGTH_MAX = 20_000;

const yesNoPrompt =
  'You read short extracts of the records of some patients. Answer the question for these patients as a group. ' +
  'Reply with a JSON array that holds exactly one of "yes" and "no", and nothing else. If the extracts do not tell, reply [].';

const termsPrompt = ({ terms, k }: ShardTask): string =>
  'You read short extracts of the records of some patients. Answer the question for these patients as a group. ' +
  `Reply with a JSON array of at most ${k} of the ids below, the best first, and nothing else. If the extracts do not tell, reply [].\n` +
  `Ids: ${terms.map(({ id, name }) => (id === name ? id : `${id} (${name})`)).join(', ')}`;

export const promptOf = (task: ShardTask, text: string): ShardPrompt => ({
  system: task.terms.length === 0 ? yesNoPrompt : termsPrompt(task),
  user: `Extracts:\n${text}\nQuestion: ${task.question}`,
});

/** Positions of the entries an answer names, each once, at most k; empty for anything but one JSON array. */
export const entriesOf = (answer: string, cells: readonly string[], k: number): readonly number[] => {
  if (answer.length > ANSWER_LENGTH_MAX) return [];
  const text = answer.trim().replace(/^```(?:json)?\s*([\s\S]*?)\s*```$/, '$1');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  const named = Named.safeParse(value);
  if (!named.success) return [];
  const positions = named.data
    .map((name) => cells.indexOf(name.trim().toLowerCase()))
    .filter((at) => at >= 0);
  return [...new Set(positions)].slice(0, k);
};

/** Seams for fault injection; production passes none. */
export interface ShardCallRules {
  readonly timer?: (work: (signal: AbortSignal) => Promise<string>, timeoutMs: number) => Promise<string>;
  readonly entries?: typeof entriesOf;
}

/** What the call gave in its own time; '' for anything else. The call itself is told to stop and not waited for. */
const withinTime = async (
  work: (signal: AbortSignal) => Promise<string>,
  timeoutMs: number,
): Promise<string> => {
  const own = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => {
      resolve('');
      own.abort();
    }, timeoutMs);
  });
  try {
    return await Promise.race([work(own.signal).catch(() => ''), late]);
  } finally {
    clearTimeout(timer);
  }
};

/**
 * How many shards named each cell. Shard i is asked in lane i mod lanes, in order, whatever the others say.
 * @param texts one per shard; a shard without text is not asked, it has nothing to say
 * @throws QflError `cancelled` when the signal fires: then nothing is released
 */
export const tallyShards = async (
  model: ShardModel,
  texts: readonly string[],
  cells: readonly string[],
  task: ShardTask,
  { timeoutMs, lanes }: ShardTiming,
  {
    timer = withinTime,
    entries = entriesOf,
    signal,
  }: ShardCallRules & { readonly signal?: AbortSignal | undefined } = {},
): Promise<readonly bigint[]> => {
  const counts = cells.map(() => 0n);
  const askOne = async (text: string): Promise<void> => {
    if (signal?.aborted === true) throw abortedBy(signal);
    const answer = await timer((own) => model(promptOf(task, text), own), timeoutMs);
    for (const at of entries(answer, cells, task.k)) counts[at]! += 1n;
  };
  const lane = async (first: number): Promise<void> => {
    for (let shard = first; shard < texts.length; shard += lanes)
      if (texts[shard] !== '') await askOne(texts[shard]!);
  };
  await Promise.all(Array.from({ length: Math.min(lanes, texts.length) }, (_, at) => lane(at)));
  return counts;
};
