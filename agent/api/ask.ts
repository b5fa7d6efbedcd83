/** Questions over records. */
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import type { Principal } from '../../shared/access/principal.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { QueryId } from '../../shared/ids.ts';
import { microEpsilon, MICRO_PER_EPSILON, parseEpsilon } from '../../shared/privacy/epsilon.ts';
import { AskAnswered, AskBody, AskResult } from '../../shared/wire/ask.ts';
import { CONCEPT_GROUPS, ConceptGroup, ConceptListName } from '../../shared/wire/stats/ask.ts';
import { type AccessPolicy, requirePermission } from '../access/policy.ts';
import type { Pseudonyms } from '../access/pseudonyms.ts';
import type { AskRecords } from '../answer/ask-records/ask-records.ts';
import type { Ledger } from '../budget/ledger.ts';
import type { ConceptList } from '../concepts/list.ts';
import { type Compared, withComparisons } from '../federation/comparisons.ts';

export interface AskRouteOptions {
  readonly askRecords: AskRecords;
  readonly ledger: Pick<Ledger, 'limits'>;
  readonly list: ConceptList;
  readonly policy: AccessPolicy;
  readonly pseudonyms: Pseudonyms;
  readonly defaultEpsilon: number;
  readonly compared: Compared;
}

const Terms = z.strictObject({
  list: ConceptListName,
  terms: z.array(
    z.strictObject({
      id: z.string(),
      group: ConceptGroup,
      name: z.string(),
      synonyms: z.array(z.string()),
      codes: z.array(z.strictObject({ system: z.string(), code: z.string() })),
    }),
  ),
  /** Words that mean any of several terms. */
  umbrellas: z.array(z.strictObject({ names: z.array(z.string()), terms: z.array(z.string()) })),
});

const termsOf = (list: ConceptList): z.infer<typeof Terms> => ({
  list: list.name,
  terms: CONCEPT_GROUPS.flatMap((group) =>
    list.ofGroup(group).map(({ id, name, synonyms, codes }) => ({
      id,
      group,
      name,
      synonyms: [...synonyms],
      codes: codes.map(({ systems, code }) => ({ system: systems[0] ?? '', code })),
    })),
  ),
  umbrellas: list.umbrellas.map(({ names, members }) => ({ names: [...names], terms: [...members] })),
});

export const registerAsk = ({ fastify }: HttpApp, options: AskRouteOptions): void => {
  const { askRecords, ledger, list, policy, pseudonyms, defaultEpsilon, compared } = options;
  const askerOf = (key: Principal) => ({
    pseudonym: pseudonyms.of(key),
    role: key.role,
    department: key.department,
  });
  const epsilonOf = (given: string | number | undefined): number => {
    const asked =
      given === undefined
        ? microEpsilon(Math.round(defaultEpsilon * MICRO_PER_EPSILON))
        : parseEpsilon(String(given));
    const { microEpsilonPerQueryMax } = ledger.limits();
    if (asked <= microEpsilonPerQueryMax) return asked;
    throw new QflError('invalid_request', {
      detail: `a query may charge at most epsilon ${microEpsilonPerQueryMax / MICRO_PER_EPSILON}`,
      next: 'Ask with a smaller epsilon: more noise, less of the budget.',
    });
  };

  fastify.post(
    '/v1/ask',
    { config: { access: 'records.ask' }, schema: { body: AskBody, response: { 200: AskResult } } },
    async (request) => {
      const key = principalOf(request);
      requirePermission(policy, key, 'measurement');
      const { question, method, epsilon, k, confidence, sites, blocks, rewrite, dryRun } = request.body;
      const asking = {
        question,
        method,
        microEpsilon: epsilonOf(epsilon),
        k,
        confidence,
        sites,
        blocks,
        rewrite,
        asker: askerOf(key),
      };
      return dryRun
        ? withComparisons(await askRecords.plan(asking), compared)
        : withComparisons(await askRecords.ask(asking), compared);
    },
  );
  fastify.get(
    '/v1/ask/terms',
    { config: { access: 'records.ask' }, schema: { response: { 200: Terms } } },
    () => termsOf(list),
  );
  fastify.get(
    '/v1/ask/:queryId',
    {
      config: { access: 'records.ask' },
      schema: {
        params: z.strictObject({ queryId: QueryId }),
        querystring: z.strictObject({ confidence: z.coerce.number().gt(0.5).lt(1).default(0.95) }),
        response: { 200: AskAnswered },
      },
    },
    async (request) => {
      const key = principalOf(request);
      requirePermission(policy, key, 'measurement');
      const { queryId } = request.params;
      const result = await askRecords.result(queryId, pseudonyms.of(key), request.query.confidence);
      return withComparisons(result, compared);
    },
  );
};
