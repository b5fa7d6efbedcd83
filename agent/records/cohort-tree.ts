/**
 * Who is meant: patients by and, or and not over "has a row such that …" (`cohort.ts`). Each patient is judged by their own rows alone, so
 * one patient more or less changes the answer of nobody else: stability 1.
 *
 *     Condition?code=44054006 and not (MedicationRequest?code=860975 or Patient?age=ge80)
 */
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import { canonicalCohort, type Cohort, parseCohort } from './cohort.ts';
import { refuseUnstable } from './stability.ts';

export type CohortTree =
  | { readonly kind: 'rows'; readonly rows: Cohort }
  | { readonly kind: 'all' | 'any'; readonly of: readonly CohortTree[] }
  | { readonly kind: 'not'; readonly of: CohortTree };

export const COHORT_DEPTH_MAX = 6;
export const COHORT_LEAVES_MAX = 16;
const TEXT_MAX = 8_000;

const refuse = (detail: string): QflError =>
  new QflError('invalid_request', {
    detail,
    next: 'Write a cohort as "Condition?code=44054006 and not (MedicationRequest?code=860975 or Patient?age=ge80)".',
  });

/** "Has a row such that …", from left to right. */
export const leavesOf = (tree: CohortTree): readonly Cohort[] => {
  if (tree.kind === 'rows') return [tree.rows];
  return tree.kind === 'not' ? leavesOf(tree.of) : tree.of.flatMap(leavesOf);
};

/** The tree's truth for one patient, from that of its leaves in the order of `leavesOf`. */
export const holds = (tree: CohortTree, leaves: readonly boolean[]): boolean => {
  let at = 0;
  // No short cuts: every leaf takes its place.
  const judge = (node: CohortTree): boolean => {
    if (node.kind === 'rows') return leaves[at++] === true;
    if (node.kind === 'not') return !judge(node.of);
    const parts = node.of.map(judge);
    return node.kind === 'all' ? parts.every(Boolean) : parts.some(Boolean);
  };
  return judge(tree);
};

const Node = z.union([
  z.strictObject({ all: z.array(z.unknown()).min(1).max(COHORT_LEAVES_MAX) }),
  z.strictObject({ any: z.array(z.unknown()).min(1).max(COHORT_LEAVES_MAX) }),
  z.strictObject({ not: z.unknown() }),
]);

const ofObject = (input: unknown, today: string | undefined, depth: number): CohortTree => {
  if (depth > COHORT_DEPTH_MAX) throw refuse(`and, or and not are nested more than ${COHORT_DEPTH_MAX} deep`);
  refuseUnstable(input);
  if (typeof input === 'string') return ofText(input, today);
  const node = Node.safeParse(input).data;
  if (node === undefined) return { kind: 'rows', rows: parseCohort(input, today) };
  const below = (one: unknown): CohortTree => ofObject(one, today, depth + 1);
  if ('not' in node) return { kind: 'not', of: below(node.not) };
  return 'all' in node ? { kind: 'all', of: node.all.map(below) } : { kind: 'any', of: node.any.map(below) };
};

interface Reader {
  readonly text: string;
  at: number;
}

const skipSpace = (reader: Reader): void => {
  while (reader.text[reader.at] === ' ') reader.at += 1;
};

/** Takes the word when it stands here as a word. */
const takes = (reader: Reader, word: string): boolean => {
  skipSpace(reader);
  const end = reader.at + word.length;
  if (reader.text.slice(reader.at, end).toLowerCase() !== word) return false;
  if (!/^(?:[ (]|$)/.test(reader.text.slice(end))) return false;
  reader.at = end;
  return true;
};

const OPERATOR = /^ +(?:and|or)(?= |\(|$)/i;

/** A leaf ends before " and ", " or " or a parenthesis that it did not open itself, as in "term=Asthma (disorder)". */
const readLeaf = (reader: Reader): string => {
  const from = reader.at;
  let open = 0;
  for (; reader.at < reader.text.length; reader.at += 1) {
    const letter = reader.text[reader.at];
    if (letter === '(') open += 1;
    if (letter === ')' && open-- === 0) break;
    if (open === 0 && OPERATOR.test(reader.text.slice(reader.at))) break;
  }
  const leaf = reader.text.slice(from, reader.at).trim();
  if (leaf === '') throw refuse('a part of the cohort is missing');
  return leaf;
};

const readOne = (reader: Reader, today: string | undefined, depth: number): CohortTree => {
  if (depth > COHORT_DEPTH_MAX) throw refuse(`and, or and not are nested more than ${COHORT_DEPTH_MAX} deep`);
  if (takes(reader, 'not')) return { kind: 'not', of: readOne(reader, today, depth + 1) };
  skipSpace(reader);
  if (reader.text[reader.at] !== '(') return { kind: 'rows', rows: parseCohort(readLeaf(reader), today) };
  reader.at += 1;
  const inner = readAny(reader, today, depth + 1);
  skipSpace(reader);
  if (reader.text[reader.at] !== ')') throw refuse('a parenthesis is not closed');
  reader.at += 1;
  return inner;
};

const readList = (
  reader: Reader,
  word: 'and' | 'or',
  kind: 'all' | 'any',
  next: () => CohortTree,
): CohortTree => {
  const parts = [next()];
  while (takes(reader, word)) parts.push(next());
  const [first] = parts;
  return parts.length === 1 && first !== undefined ? first : { kind, of: parts };
};

/** "and" binds closer than "or". */
const readAny = (reader: Reader, today: string | undefined, depth: number): CohortTree =>
  readList(reader, 'or', 'any', () => readList(reader, 'and', 'all', () => readOne(reader, today, depth)));

const ofText = (text: string, today: string | undefined): CohortTree => {
  if (text.length > TEXT_MAX) throw refuse(`a cohort has at most ${TEXT_MAX} characters`);
  const reader: Reader = { text, at: 0 };
  const tree = readAny(reader, today, 1);
  skipSpace(reader);
  if (reader.at < text.length) throw refuse('the cohort goes on after its end');
  return tree;
};

/**
 * A cohort from its JSON form (`{"all": […]}`, `{"any": […]}`, `{"not": …}`, `{"resource": …, "where": […]}`) or its text.
 * @param today the day that ages are counted on when they name none
 * @throws QflError `invalid_request`
 */
export const parseCohortTree = (input: unknown, today?: string): CohortTree => {
  const tree = ofObject(input, today, 1);
  if (leavesOf(tree).length > COHORT_LEAVES_MAX)
    throw refuse(`a cohort has at most ${COHORT_LEAVES_MAX} parts`);
  return tree;
};

/** The JSON form, one text per meaning of the form: read back by `parseCohortTree`, hashed, signed and logged. */
export const canonicalTree = (tree: CohortTree): string => {
  if (tree.kind === 'rows') return canonicalCohort(tree.rows);
  if (tree.kind === 'not') return `{"not":${canonicalTree(tree.of)}}`;
  return `{"${tree.kind}":[${[...new Set(tree.of.map(canonicalTree))].toSorted().join(',')}]}`;
};
