/**
 * A site's patients in fixed, disjoint parts, and what each part may show a model (privacy.md §5, choice A). A person is in one part, the
 * same for every question and every user, and is in its text or not by their own lines alone: adding or removing a person changes
 * the text of one part.
 */
import { toHex, utf8 } from '../../../shared/bytes.ts';
import { blake2b } from '../../../shared/crypto/hash.ts';
import { assert } from '../../../shared/errors.ts';
import type { ConceptList } from '../../concepts/list.ts';
import { openPatientReader } from '../../concepts/patient-text.ts';
import { personsWithConcepts, type PersonRules } from '../../concepts/persons.ts';
import { createWeights, RELEVANCE_MIN, relevanceOf, type QuestionWeights } from '../../concepts/relevance.ts';
import type { Records } from '../../records/store.ts';

const PERSON_LENGTH_MAX = 600;
export const SHARD_LENGTH_MAX = 6_000;
const WORD_BYTES = 8;

/** Keyed BLAKE2b of the blinded person under a secret of the site, modulo the number of shards. */
export const shardOf = (person: string, shards: number, secret: Uint8Array): number => {
  assert(secret.byteLength === 32, 'the shard secret has 32 bytes');
  const word = blake2b(WORD_BYTES, utf8(person), secret);
  // 64 bits over at most 1,024 shards: the bias is below 2^-54, and it is no privacy matter.
  return Number(BigInt(`0x${toHex(word)}`) % BigInt(shards));
};

/** The lines that match, then the others, up to a length; undefined when the person does not pass the threshold. */
export const snippetOf = (lines: readonly string[], weights: QuestionWeights): string | undefined => {
  const { coverage, matching } = relevanceOf(lines, weights);
  if (coverage < RELEVANCE_MIN) return undefined;
  const ordered = [...lines.filter((_, at) => matching[at]), ...lines.filter((_, at) => !matching[at])];
  let text = '';
  for (const line of ordered) {
    if (text.length + line.length + 2 > PERSON_LENGTH_MAX) break;
    text += text === '' ? line : `; ${line}`;
  }
  return text;
};

export interface ShardRules extends PersonRules {
  /** Seam for fault injection: weights that look at the records. */
  readonly weights?: (records: Records, question: string) => Promise<QuestionWeights>;
}

/** The text of every shard, in order; '' for one in which nobody passes. Each is a function of its own persons. */
export const shardTexts = async (
  records: Records,
  {
    question,
    shards,
    secret,
    list,
    blocks,
  }: {
    readonly question: string;
    readonly shards: number;
    readonly secret: Uint8Array;
    readonly list: ConceptList;
    /** Only persons of these data blocks; everybody where the site keeps none. */
    readonly blocks?: readonly string[] | undefined;
  },
  { weights: other, ...rules }: ShardRules = {},
  signal?: AbortSignal,
): Promise<readonly string[]> => {
  const weights = other === undefined ? createWeights(list)(question) : await other(records, question);
  const members = Array.from({ length: shards }, (): { person: string; text: string }[] => []);
  const reader = await openPatientReader(records);
  try {
    for await (const { person, patients } of personsWithConcepts(records, [], rules, blocks)) {
      signal?.throwIfAborted();
      const text = snippetOf(await reader.lines(patients), weights);
      if (text !== undefined && text !== '') members[shardOf(person, shards, secret)]!.push({ person, text });
    }
  } finally {
    await reader.close();
  }
  return members.map((persons) => {
    // Linked persons come last from the stream; by name, the text does not depend on who else is linked.
    const ordered = persons.toSorted((left, right) => (left.person < right.person ? -1 : 1));
    let text = '';
    for (const { text: part } of ordered) {
      if (text.length + part.length + 12 > SHARD_LENGTH_MAX) break;
      text += `- Patient: ${part}\n`;
    }
    return text;
  });
};
