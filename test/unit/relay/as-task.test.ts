import { expect, test } from 'vitest';
import { asTask } from '../../../coordinator/relay/as-task.ts';
import type { TaskLedger } from '../../../coordinator/tasks/ledger.ts';
import { QflError } from '../../../shared/errors.ts';
import { QueryId, SiteId } from '../../../shared/ids.ts';
import { TaskId } from '../../../shared/ids.ts';
import type { Envelope } from '../../../shared/wire/envelope.ts';
import type { Reply } from '../../../shared/wire/peer.ts';

const NORTH = SiteId.parse('north');
const SOUTH = SiteId.parse('south');
const envelope = (kind: Envelope['kind']): Envelope => ({
  v: 'fed-e2e/1',
  queryId: QueryId.parse('1'.repeat(32)),
  kind,
  sender: NORTH,
  recipients: [],
  createdMs: 1_000,
  expiresMs: 61_000,
  microEpsilon: 0,
  model: null,
  sizeBucketBytes: 256,
  priority: 5,
  commitment: 'A'.repeat(44),
});

const ledgerOf = (events: string[]): TaskLedger => ({
  begin(work) {
    events.push(`begin ${work.kind} ${work.timeoutMs}`);
    let ended = false;
    return {
      id: TaskId.parse('a'.repeat(32)),
      placed: (site) => void events.push(`placed ${site}`),
      end(code) {
        if (ended) return;
        ended = true;
        events.push(`end ${code ?? 'well'}`);
      },
    };
  },
});

async function* pieces(count: number, error?: Error): AsyncGenerator<Reply> {
  for (let at = 0; at < count; at += 1) yield { header: { site: SOUTH }, payload: new Uint8Array(0) };
  if (error !== undefined) throw error;
}

const run = async (
  kind: Envelope['kind'],
  from: AsyncIterable<Reply>,
  { stopAfter = Infinity, signal = new AbortController().signal } = {},
): Promise<string[]> => {
  const events: string[] = [];
  let read = 0;
  try {
    for await (const _ of asTask(ledgerOf(events), envelope(kind), NORTH, from, signal)) {
      read += 1;
      if (read >= stopAfter) break;
    }
  } catch (error) {
    events.push(`thrown ${error instanceof QflError ? error.code : 'other'}`);
  }
  return events;
};

test('a chat is placed once, by its first piece, and ends well', async () => {
  expect(await run('chat', pieces(3))).toEqual(['begin chat 60000', 'placed south', 'end well']);
});

test('a statistic has no place of its own', async () => {
  expect(await run('stats', pieces(2))).toEqual(['begin stats 60000', 'end well']);
});

test('a failure ends it with its code and goes on to the asker', async () => {
  const failed = pieces(1, new QflError('overloaded'));
  expect(await run('chat', failed)).toEqual([
    'begin chat 60000',
    'placed south',
    'end overloaded',
    'thrown overloaded',
  ]);
});

test('an asker who leaves ends it as cancelled', async () => {
  expect(await run('chat', pieces(3), { stopAfter: 1 })).toEqual([
    'begin chat 60000',
    'placed south',
    'end cancelled',
  ]);
  const gone = AbortSignal.abort();
  const failed = pieces(0, new QflError('cut'));
  expect(await run('chat', failed, { signal: gone })).toEqual([
    'begin chat 60000',
    'end cancelled',
    'thrown cut',
  ]);
});
