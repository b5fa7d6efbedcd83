/**
 * `rounds --sites N --dim D --drops K`: a whole sealed round by the states that ship, in one process: every site shares, masks and sends its vector through
 * the coordinator's spool, K of them drop out before they send, and the sum is opened. Inputs are drawn again where they are needed and vectors lie
 * in files, so that memory is that of one vector and the sum. Masking is timed against making the same keystreams alone, taking turns, by the processor
 * time of this thread where the machine tells it (others work on it too). `--memory` opens vectors of D words in a process of its own and says how much
 * memory that took; beyond four sites it reads the same four files again.
 */
import { fork } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { masksOf, membersHash, signVector } from '../../agent/rounds/site-round.ts';
import { createSpool, type Spool } from '../../coordinator/rounds/spool.ts';
import { toHex, utf8 } from '../../shared/bytes.ts';
import { blake2b } from '../../shared/crypto/hash.ts';
import { paddedSize } from '../../shared/crypto/padding.ts';
import { QflError } from '../../shared/errors.ts';
import { ADDER_BYTES } from '../../shared/rounds/adder.ts';
import { CHUNK_BYTES, chunkHashOf, vectorHashOf } from '../../shared/rounds/messages.ts';
import { hashSlowly, maskApart, openApart } from '../../shared/rounds/thread.ts';
import { addWords, bytesOf, keystream, mask, type Masks, type Words } from '../../shared/rounds/words.ts';
import { encodeMessage, partFrames, wholeFrame } from '../../shared/wire/message.ts';
import { writeWholeFile } from '../../shared/whole-file.ts';
import {
  answerOf,
  happen,
  identityAt,
  keep,
  type Member,
  siteAt,
  type World,
  worldOf,
} from '../unit/rounds/simulation.ts';
import type { RoundEvent } from '../../coordinator/rounds/round.ts';
import { acceptMembers, openMasks } from '../unit/rounds/at-once.ts';

export const usage = '--sites N --dim D [--drops K] [--memory]';

const FLOAT_BYTES = 4;
/** A frame's tag, and what the socket puts around it. */
const FRAME_BYTES = 17 + 8;
const REPEATS_MAX = 15;
const REPEATS_MIN = 3;
/** Bytes of keystream that the repetitions of one comparison make at most, beyond the fewest. */
const REPEATED_BYTES_MAX = 4e9;
/** Keystream of one turn, at least: a tenth of a second. */
const TURN_BYTES = 2e8;
const RUNS_PER_TURN_MAX = 500;
const KEYSTREAM_RATIO_TARGET = 1.5;
const MEMORY_FILES_MAX = 4;
const MEMORY_TARGET_MB = 2_048;

export interface RoundsBenchRow {
  readonly sites: number;
  readonly dim: number;
  readonly drops: number;
  readonly exact: boolean;
  /** Of the survivors, the median by the clock, with the start of the thread that does it. */
  readonly maskMsPerSite: number;
  /** The secrets found again, the vectors summed and uncovered, by the clock. */
  readonly unmaskMs: number;
  /** Bytes that a site's messages have, against its vector in float32. */
  readonly trafficRatio: number;
  /** The same as frames of the channel, padded. */
  readonly frameTrafficRatio: number;
  readonly peakRssMb: number;
  readonly keystreamRatio: number;
  readonly unmaskKeystreamRatio: number;
  /** Processor time of one masking in this thread. */
  readonly maskCpuMs: number;
  readonly unmaskCpuMs: number;
  /** Keystreams that the coordinator makes. */
  readonly prgRuns: number;
  /** Shares, members, survivors and reveal at one site, and all of them at the coordinator; median and sum by the clock. */
  readonly protocolMsPerSite: number;
  readonly protocolMsCoordinator: number;
  /** What the round adds to a training: sites work side by side. */
  readonly addedMs: number;
  readonly timer: 'thread' | 'process';
}

const median = (values: readonly number[]): number =>
  values.toSorted((left, right) => left - right)[values.length >> 1] ?? Number.NaN;

const threadMs = (): number =>
  Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]) / 1e6;
const processMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};
const timerOf = (): { readonly name: 'thread' | 'process'; readonly nowMs: () => number } => {
  try {
    if (threadMs() > 0) return { name: 'thread', nowMs: threadMs };
  } catch {
    // Not Linux.
  }
  return { name: 'process', nowMs: processMs };
};

/** The keystreams of these masks, made the fastest way there is and thrown away. */
const generate = (words: number, { plus, minus }: Masks): void => {
  const zeros = new Uint8Array(ADDER_BYTES);
  for (const seed of [...plus, ...minus]) {
    const cipher = createCipheriv('chacha20', seed, Buffer.alloc(16));
    for (let left = words * FLOAT_BYTES; left > 0; left -= ADDER_BYTES)
      cipher.update(left >= ADDER_BYTES ? zeros : zeros.subarray(0, left));
  }
};

interface Comparison {
  readonly ratio: number;
  readonly maskMs: number;
}
/** Masking against its keystreams alone, in turns; the median of the turns' ratios. */
const compare = (words: number, masks: Masks, nowMs: () => number, turnBytes: number): Comparison => {
  const vector = new Uint32Array(words);
  const bytes = words * FLOAT_BYTES * (masks.plus.length + masks.minus.length);
  // The kernel counts a thread's time in ticks of some milliseconds: a turn has to be much longer.
  const perTurn = Math.min(RUNS_PER_TURN_MAX, Math.ceil(turnBytes / bytes));
  const repeats = Math.min(
    REPEATS_MAX,
    Math.max(REPEATS_MIN, Math.floor(REPEATED_BYTES_MAX / (bytes * perTurn))),
  );
  const spent = (run: () => void): number => {
    const begunMs = nowMs();
    for (let at = 0; at < perTurn; at += 1) run();
    return (nowMs() - begunMs) / perTurn;
  };
  const turns = Array.from({ length: repeats }, () => ({
    aloneMs: spent(() => generate(words, masks)),
    maskMs: spent(() => mask(vector, masks)),
  }));
  return {
    ratio: median(turns.map(({ aloneMs, maskMs }) => maskMs / aloneMs)),
    maskMs: median(turns.map(({ maskMs }) => maskMs)),
  };
};

/** A site's input, the same each time: too long to be kept for all. */
const inputAt = (at: number, words: number): Words => {
  const input = new Uint32Array(words);
  let done = 0;
  for (const piece of keystream(blake2b(32, utf8(`input of site ${at}`)), words)) {
    input.set(piece, done);
    done += piece.length;
  }
  return input;
};

interface Traffic {
  messages: number;
  frames: number;
}
/** Counts what a site sends, as bytes of the message and as padded frames. @param isVector whose length the plan says: it travels with hardly any padding */
const count = (traffic: Traffic, header: unknown, payload: Uint8Array, isVector = false): void => {
  const encoded = encodeMessage({ type: 'request', id: 0, header, payload });
  const bytes = encoded[0].byteLength + encoded[1].byteLength;
  traffic.messages += bytes;
  const whole = wholeFrame(encoded, isVector);
  for (const frame of whole === undefined ? partFrames(encoded, 0, isVector) : [whole])
    traffic.frames += paddedSize(frame.reduce((sum, part) => sum + part.byteLength, 0)) + FRAME_BYTES;
};

interface Run {
  readonly world: World;
  readonly spool: Spool;
  readonly traffic: readonly Traffic[];
  readonly protocolMs: number[];
  coordinatorMs: number;
}

const EMPTY = new Uint8Array(0);
/** What a site answers in a phase without a vector: how it travels. */
const answerBytes = (event: RoundEvent): readonly [unknown, Uint8Array] => {
  if (event.kind === 'shared') return [{ signature: event.signature }, utf8(event.text)];
  if (event.kind === 'alive') return [{ signature: event.signature }, EMPTY];
  return event.kind === 'revealed' ? [event.reply, EMPTY] : [undefined, EMPTY];
};

const occur = (run: Run, event: RoundEvent): void => {
  const begunMs = performance.now();
  happen(run.world, event);
  run.coordinatorMs += performance.now() - begunMs;
};

/** A phase in which each site answers at once; the phase may end before all were asked. */
const answerAll = (run: Run, members: readonly Member[]): void => {
  const { phase } = run.world.state;
  for (const member of members) {
    if (run.world.state.phase !== phase) return;
    const begunMs = performance.now();
    const event = answerOf(run.world, member);
    run.protocolMs[member.at]! += performance.now() - begunMs;
    count(run.traffic[member.at]!, ...answerBytes(event));
    occur(run, event);
  }
};

const takeMembers = (run: Run, member: Member): void => {
  const { state, plan } = run.world;
  const boxes = state.members.map(({ site }) => {
    const theirs = state.shares.get(site)!;
    return site === siteAt(member.at)
      ? null
      : { box: theirs.boxes[member.at]!, hashes: theirs.shareHashes[member.at]! };
  });
  const begunMs = performance.now();
  keep(member, acceptMembers(member.round, { plan: toHex(plan.hash), members: [...state.members], boxes }));
  run.protocolMs[member.at]! += performance.now() - begunMs;
};

/** Through the spool, as chunks. */
const send = async (run: Run, member: Member, vector: Words): Promise<void> => {
  const { plan, state } = run.world;
  const site = siteAt(member.at);
  const bytes = bytesOf(vector);
  const chunks = Array.from({ length: Math.ceil(bytes.byteLength / CHUNK_BYTES) }, (_, index) =>
    bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
  );
  const hashes = chunks.map(chunkHashOf);
  const hash = vectorHashOf(plan.hash, site, vector.length, hashes);
  const signature = keep(member, signVector(member.round, hash, member.identity));
  const members = toHex(membersHash(member.round));
  count(run.traffic[member.at]!, { plan: toHex(plan.hash), members, signature }, Buffer.concat(hashes));
  await run.spool.begin(site, Buffer.concat(hashes));
  for (const [index, chunk] of chunks.entries()) {
    count(run.traffic[member.at]!, { plan: toHex(plan.hash), index }, chunk, true);
    await run.spool.add(site, index, chunk);
  }
  if (state.phase !== 'collecting') throw new Error('vectors are sent while they are collected');
  occur(run, { kind: 'vector', site, hash: toHex(hash), signature });
};

/** Each survivor masks and sends; milliseconds of masking, and the sum that has to come out. */
const collect = async (
  run: Run,
  drops: number,
): Promise<{ maskMs: number[]; plain: Words; masks: Masks }> => {
  const { members, plan } = run.world;
  const plain = new Uint32Array(plan.plan.words);
  const maskMs: number[] = [];
  for (const member of members) takeMembers(run, member);
  // The masks of one in the middle: it adds as many as it takes away.
  const masks = masksOf(members[members.length >> 1]!.round);
  for (const member of members) {
    // Spread over the order, so that the masks they leave have both signs.
    if (isDropped(member.at, members.length, drops)) continue;
    const input = inputAt(member.at, plan.plan.words);
    addWords(plain, input);
    const begunMs = performance.now();
    const vector = await maskApart(input, masksOf(member.round));
    maskMs.push(performance.now() - begunMs);
    await send(run, member, vector);
  }
  if (drops > 0) occur(run, { kind: 'silence' });
  return { maskMs, plain, masks };
};
const isDropped = (at: number, sites: number, drops: number): boolean =>
  Math.floor(((at + 1) * drops) / sites) > Math.floor((at * drops) / sites);

const withFolder = async <Value>(work: (folder: string) => Promise<Value>): Promise<Value> => {
  const folder = await mkdtemp(join(tmpdir(), 'qfl-bench-rounds-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

const peakRssMb = (): number => process.resourceUsage().maxRSS / 1_024;

export const measureRound = (
  sites: number,
  dim: number,
  drops: number,
  turnBytes = TURN_BYTES,
): Promise<RoundsBenchRow> =>
  withFolder(async (folder) => {
    for (let at = 0; at < sites; at += 1) identityAt(at);
    const { name: timer, nowMs } = timerOf();
    // What is summed is drawn where it is needed.
    const world = worldOf(sites, dim, 1, { plan: { minCohort: 2 }, inputOf: () => new Uint32Array(0) });
    const run: Run = {
      world,
      spool: createSpool(folder, world.plan.plan.round, dim),
      traffic: world.members.map(() => ({ messages: 0, frames: 0 })),
      protocolMs: world.members.map(() => 0),
      coordinatorMs: 0,
    };
    const staying = world.members.filter(({ at }) => !isDropped(at, sites, drops));
    answerAll(run, world.members);
    answerAll(run, world.members);
    const { maskMs, plain, masks } = await collect(run, drops);
    answerAll(run, staying);
    answerAll(run, staying);
    if (world.state.phase !== 'opening')
      throw new Error(`the round ended ${world.state.phase}: ${world.state.why}`);
    const begunMs = performance.now();
    const opening = openMasks(world.state, world.graph);
    if ('fault' in opening) throw new Error(opening.fault);
    const sum = await openApart(
      world.state.survivors.map(({ site }) => run.spool.pathOf(site)),
      dim,
      opening.masks,
    );
    const unmaskMs = performance.now() - begunMs;
    const exact = Buffer.compare(bytesOf(sum), bytesOf(plain)) === 0;
    const rss = peakRssMb();
    const site = compare(dim, masks, nowMs, turnBytes);
    const coordinator = compare(dim, opening.masks, nowMs, turnBytes);
    const sent = staying.map(({ at }) => run.traffic[at]!);
    const protocolMsPerSite = median(staying.map(({ at }) => run.protocolMs[at]!));
    return {
      sites,
      dim,
      drops,
      exact,
      maskMsPerSite: median(maskMs),
      unmaskMs,
      trafficRatio: median(sent.map(({ messages }) => messages)) / (FLOAT_BYTES * dim),
      frameTrafficRatio: median(sent.map(({ frames }) => frames)) / (FLOAT_BYTES * dim),
      peakRssMb: rss,
      keystreamRatio: site.ratio,
      unmaskKeystreamRatio: coordinator.ratio,
      maskCpuMs: site.maskMs,
      unmaskCpuMs: coordinator.maskMs,
      prgRuns: opening.masks.plus.length + opening.masks.minus.length,
      protocolMsPerSite,
      protocolMsCoordinator: run.coordinatorMs,
      addedMs: median(maskMs) + unmaskMs + protocolMsPerSite + run.coordinatorMs,
      timer,
    };
  });

const TARGETS = [
  {
    sites: 10,
    dim: 1e6,
    drops: null,
    text: 'added to the round <= 500 ms',
    of: (row: RoundsBenchRow) => row.addedMs,
    most: 500,
  },
  {
    sites: 100,
    dim: 1e6,
    drops: 0,
    text: 'a site masks in <= 1,500 ms',
    of: (row: RoundsBenchRow) => row.maskMsPerSite,
    most: 1_500,
  },
  {
    sites: null,
    dim: 1e6,
    drops: null,
    text: 'traffic <= 1.05x float32',
    of: (row: RoundsBenchRow) => row.trafficRatio,
    most: 1.05,
  },
  {
    sites: null,
    dim: null,
    drops: null,
    text: `masking <= ${KEYSTREAM_RATIO_TARGET}x its keystreams`,
    of: (row: RoundsBenchRow) => row.keystreamRatio,
    most: KEYSTREAM_RATIO_TARGET,
  },
  {
    sites: null,
    dim: null,
    drops: null,
    text: `unmasking <= ${KEYSTREAM_RATIO_TARGET}x its keystreams`,
    of: (row: RoundsBenchRow) => row.unmaskKeystreamRatio,
    most: KEYSTREAM_RATIO_TARGET,
  },
] as const;
/** Targets of this size, with whether they are reached. */
const targetLines = (row: RoundsBenchRow): string[] =>
  TARGETS.filter((target) =>
    (['sites', 'dim', 'drops'] as const).every((key) => target[key] === null || target[key] === row[key]),
  ).map(
    ({ text, of, most }) =>
      `  ${of(row) <= most ? 'reached' : 'MISSED '} ${text}: ${of(row).toFixed(of(row) < 10 ? 3 : 0)}`,
  );

const text = (row: RoundsBenchRow): string =>
  [
    `${row.sites} sites, ${row.dim} words, ${row.drops} drop out: the sum is ${row.exact ? 'exact' : 'WRONG'}`,
    `a site masks in ${row.maskMsPerSite.toFixed(0)} ms (processor ${row.maskCpuMs.toFixed(1)} ms, ${row.keystreamRatio.toFixed(2)}x its keystreams) and has ${row.protocolMsPerSite.toFixed(0)} ms of protocol`,
    `the coordinator opens the sum in ${row.unmaskMs.toFixed(0)} ms (${row.prgRuns} keystreams, processor ${row.unmaskCpuMs.toFixed(1)} ms, ${row.unmaskKeystreamRatio.toFixed(2)}x them) and has ${row.protocolMsCoordinator.toFixed(0)} ms of protocol`,
    `a site sends ${row.trafficRatio.toFixed(4)}x float32 (${row.frameTrafficRatio.toFixed(4)}x as padded frames)`,
    `added to the round: ${row.addedMs.toFixed(0)} ms; peak memory of this process ${row.peakRssMb.toFixed(0)} MiB; processor time of the ${row.timer}`,
    ...targetLines(row),
  ].join('\n');

export interface MemoryRow {
  readonly sites: number;
  readonly dim: number;
  readonly files: number;
  readonly openMs: number;
  readonly peakRssMb: number;
  readonly targetMb: number;
  /** Before anything was opened. */
  readonly idleRssMb: number;
}
const Opened = z.strictObject({ openMs: z.number(), peakRssMb: z.number(), idleRssMb: z.number() });

const seedsOf = (count_: number): Uint8Array[] =>
  Array.from({ length: count_ }, (_, at) => blake2b(32, utf8(`mask ${at}`)));

/** In a process of its own: the vectors are opened, the sum written and hashed, as the coordinator does. */
const openAlone = async (folder: string, paths: readonly string[], dim: number): Promise<void> => {
  const idleRssMb = peakRssMb();
  const begunMs = performance.now();
  const sum = await openApart(paths, dim, { plus: [], minus: seedsOf(paths.length) });
  await writeWholeFile(join(folder, 'sum'), bytesOf(sum));
  await hashSlowly(bytesOf(sum));
  const row = { openMs: performance.now() - begunMs, peakRssMb: peakRssMb(), idleRssMb };
  await new Promise<void>((resolve) => void process.send?.(row, () => resolve()));
};

export const measureMemory = (sites: number, dim: number): Promise<MemoryRow> =>
  withFolder(async (folder) => {
    const files = Math.min(sites, MEMORY_FILES_MAX);
    const world = worldOf(3, 1, 1);
    const spool = createSpool(folder, world.plan.plan.round, dim);
    for (let at = 0; at < files; at += 1) await spoolVector(spool, at, dim);
    const paths = Array.from({ length: sites }, (_, at) => spool.pathOf(siteAt(at % files)));
    const child = fork(fileURLToPath(import.meta.url), ['open-alone', folder, String(dim), ...paths]);
    const [message]: unknown[] = await once(child, 'message');
    return { sites, dim, files, targetMb: MEMORY_TARGET_MB, ...Opened.parse(message) };
  });

/** A vector that is drawn piece by piece. */
const spoolVector = async (spool: Spool, at: number, dim: number): Promise<void> => {
  const seed = blake2b(32, utf8(`vector ${at}`));
  const chunkWords = CHUNK_BYTES / FLOAT_BYTES;
  const chunkAt = (word: number): Uint8Array => {
    const chunk = new Uint32Array(Math.min(chunkWords, dim - word));
    mask(chunk, { plus: [seed], minus: [] }, word);
    return bytesOf(chunk);
  };
  const hashes: Uint8Array[] = [];
  for (let word = 0; word < dim; word += chunkWords) hashes.push(chunkHashOf(chunkAt(word)));
  await spool.begin(siteAt(at), Buffer.concat(hashes));
  for (const index of hashes.keys()) await spool.add(siteAt(at), index, chunkAt(index * chunkWords));
};

const memoryText = (row: MemoryRow): string =>
  `${row.sites} vectors of ${row.dim} words (${row.files} files) opened in ${row.openMs.toFixed(0)} ms, sum written and hashed: peak memory ${row.peakRssMb.toFixed(0)} MiB (${row.idleRssMb.toFixed(0)} before), target ${row.targetMb}: ${row.peakRssMb <= row.targetMb ? 'reached' : 'MISSED'}`;

const whole = (value: string | undefined, least: number, fallback: number): number => {
  const number = Number(value ?? fallback);
  if (Number.isSafeInteger(number) && number >= least) return number;
  throw new QflError('invalid_request', {
    detail: 'sites (from 3), dim (from 1) and drops are whole numbers; a third of the sites may drop out',
  });
};

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<RoundsBenchRow | MemoryRow> => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      sites: { type: 'string' },
      dim: { type: 'string' },
      drops: { type: 'string' },
      memory: { type: 'boolean', default: false },
    },
  });
  const [sites, dim] = [whole(values.sites, 3, 10), whole(values.dim, 1, 1_000_000)];
  const drops = whole(values.drops, 0, 0);
  if (3 * drops > sites) whole('-1', 0, 0);
  if (values.memory) {
    const row = await measureMemory(sites, dim);
    console.log(json ? JSON.stringify(row) : memoryText(row));
    return row;
  }
  const row = await measureRound(sites, dim, drops);
  console.log(json ? JSON.stringify(row) : text(row));
  if (!row.exact) throw new Error('the sum is not that of the inputs');
  return row;
};

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv[2] === 'open-alone') {
  const [folder, dim, ...paths] = process.argv.slice(3);
  await openAlone(folder!, paths, Number(dim));
  process.disconnect();
}
