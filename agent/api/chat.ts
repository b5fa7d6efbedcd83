/** `POST /v1/chat/completions` and `GET /v1/models`, as any OpenAI client expects them. */
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { faultFrom } from '../../shared/http/faults.ts';
import { openAiError } from '../../shared/http/openai-errors.ts';
import { openSse } from '../../shared/http/sse.ts';
import { ChatChunk, ChatRequest } from '../../shared/wire/chat.ts';
import { DataClass, type Receipt } from '../../shared/wire/envelope.ts';
import type { Board, PlanSummary } from '../../shared/wire/session.ts';
import { type AccessPolicy, classOf, priorityOf, requirePermission } from '../access/policy.ts';
import type { AnswerEvent, Ask, ChatQuestion } from '../answer/ask.ts';
import type { Pseudonyms } from '../access/pseudonyms.ts';
import type { Models } from '../llm/models.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Compared } from '../federation/comparisons.ts';

export interface ChatRouteOptions {
  readonly ask: Ask;
  readonly models: Models;
  readonly policy: AccessPolicy;
  readonly pseudonyms: Pseudonyms;
  /** The longest a whole answer may take. */
  readonly timeoutMs: number;
  board(): Board | undefined;
  readonly compared: Compared;
}

/** A request names its class in this header or in `metadata.data_class`; otherwise it has its key's class. */
const CLASS_HEADER = 'x-qfl-data-class';
const ClassHeader = z.object({ [CLASS_HEADER]: DataClass.optional() });
const WithClass = z.looseObject({ metadata: z.looseObject({ data_class: DataClass.optional() }).nullish() });

interface Placed {
  readonly site: SiteId;
  readonly plan: PlanSummary | null;
}

/** What every answer says about itself, beside OpenAI's own fields. */
const provenance = (
  placed: Placed | undefined,
  dataClass: string,
  receipt: Receipt | null,
  compared: Compared,
) => ({
  qfl: {
    site: placed?.site ?? null,
    /** Has somebody here compared that site's fingerprint? Null where this site answered itself. */
    comparison: placed === undefined ? null : compared(placed.site),
    data_class: dataClass,
    plan: placed?.plan ?? null,
    receipt,
  },
});

const announce = (reply: FastifyReply, { site, plan }: Placed): void => {
  void reply.header('x-qfl-site', site);
  if (plan !== null) void reply.header('x-qfl-plan', JSON.stringify(plan));
};

/** A back end's JSON with our own facts added; a text that is not an answer ends the request as `backend_failed`. */
const withFacts = (json: string, facts: object): string => {
  const parsed = ChatChunk.safeParse(JSON.parse(json));
  if (!parsed.success)
    throw new QflError('backend_failed', {
      detail: 'the back end sent something that is not a chat completion',
    });
  return JSON.stringify({ ...parsed.data, ...facts });
};

/** Takes events until the answer is placed, so that a refusal is a status code and not a broken stream. */
const untilPlaced = async (events: AsyncIterator<AnswerEvent>): Promise<Placed> => {
  const { value, done } = await events.next();
  if (done === true || value.kind !== 'placed')
    throw new QflError('internal', { detail: 'an answer without a place' });
  return value;
};

/** Ends when the caller goes away, or when the answer takes too long. */
const answerSignal = (reply: FastifyReply, timeoutMs: number): AbortController => {
  const abort = new AbortController();
  const timer = setTimeout(
    () =>
      abort.abort(new QflError('timeout', { detail: `the answer took more than ${timeoutMs / 1_000} s` })),
    timeoutMs,
  );
  reply.raw.once('close', () => {
    clearTimeout(timer);
    if (!reply.raw.writableFinished) abort.abort();
  });
  return abort;
};

const streamAnswer = async (
  app: HttpApp,
  reply: FastifyReply,
  question: ChatQuestion,
  { ask, timeoutMs, compared }: ChatRouteOptions,
): Promise<void> => {
  const abort = answerSignal(reply, timeoutMs);
  const events = ask(question, abort.signal);
  const placed = await untilPlaced(events);
  announce(reply, placed);
  const sse = openSse(reply, app.streams);
  sse.signal.addEventListener('abort', () => abort.abort(sse.signal.reason), { once: true });
  let receipt: Receipt | null = null;
  let id: string | undefined;
  try {
    for (let next = await events.next(); next.done !== true; next = await events.next()) {
      const event = next.value;
      if (event.kind === 'done') ({ receipt } = event);
      else if (event.kind === 'data') {
        id ??= ChatChunk.parse(JSON.parse(event.json)).id;
        await sse.send(event.json);
      }
    }
    // One more chunk without choices, as for usage: clients pass over it, those who look find where the answer came from.
    await sse.send(
      JSON.stringify({
        id: id ?? 'chatcmpl-qfl',
        object: 'chat.completion.chunk',
        created: Math.floor(Date.now() / 1_000),
        model: question.request.model,
        choices: [],
        ...provenance(placed, question.dataClass, receipt, compared),
      }),
    );
    await sse.send('[DONE]');
  } catch (error) {
    // After the first byte the status cannot change: OpenAI clients raise on a data event with `error`.
    await sse.send(JSON.stringify(openAiError(faultFrom(toQflError(error)))));
  } finally {
    await events.return(undefined);
    sse.end();
  }
};

const wholeAnswer = async (
  reply: FastifyReply,
  question: ChatQuestion,
  { ask, timeoutMs, compared }: ChatRouteOptions,
): Promise<string> => {
  const abort = answerSignal(reply, timeoutMs);
  let placed: Placed | undefined;
  let json: string | undefined;
  let receipt: Receipt | null = null;
  for await (const event of ask(question, abort.signal)) {
    if (event.kind === 'placed') placed = event;
    else if (event.kind === 'data') ({ json } = event);
    else ({ receipt } = event);
  }
  if (json === undefined || placed === undefined)
    throw new QflError('backend_failed', { detail: 'the back end gave no answer' });
  announce(reply, placed);
  return withFacts(json, provenance(placed, question.dataClass, receipt, compared));
};

/** Models of this site and of all that are online, each once. */
const allModels = async (options: ChatRouteOptions) => {
  const own = (await options.models.list()).map(({ id, ownedBy }) => ({ id, ownedBy, sites: ['here'] }));
  const byId = new Map(own.map((model) => [model.id, model]));
  for (const { site, online, models: offered } of options.board()?.sites ?? []) {
    for (const id of online ? offered : []) {
      const known = byId.get(id) ?? { id, ownedBy: 'federation', sites: [] };
      byId.set(id, { ...known, sites: [...known.sites, site] });
    }
  }
  return [...byId.values()].map(({ id, ownedBy, sites }) => ({
    id,
    object: 'model' as const,
    created: 0,
    owned_by: ownedBy,
    qfl: { sites },
  }));
};

export const registerChat = (app: HttpApp, options: ChatRouteOptions): void => {
  const { fastify } = app;
  const { policy, pseudonyms } = options;
  fastify.get('/v1/models', { config: { access: 'models.read' } }, async (request) => {
    requirePermission(policy, principalOf(request), 'query');
    return { object: 'list', data: await allModels(options) };
  });
  fastify.get('/v1/models/*', { config: { access: 'models.read' } }, async (request) => {
    requirePermission(policy, principalOf(request), 'query');
    const { '*': id } = z.object({ '*': z.string() }).parse(request.params);
    const model = (await allModels(options)).find((one) => one.id === id);
    if (model === undefined)
      throw new QflError('not_found', { detail: `no site offers the model ${id} now` });
    return model;
  });
  fastify.post(
    '/v1/chat/completions',
    { config: { access: 'chat.ask' }, schema: { body: ChatRequest, headers: ClassHeader } },
    async (request, reply) => {
      const key = principalOf(request);
      requirePermission(policy, key, 'query');
      const { metadata } = WithClass.parse(request.body);
      const question: ChatQuestion = {
        request: request.body,
        dataClass: classOf(key, request.headers[CLASS_HEADER] ?? metadata?.data_class),
        asker: { pseudonym: pseudonyms.of(key), role: key.role, department: key.department },
        priority: priorityOf(policy, key.department),
        requestId: request.id,
      };
      if (request.body.stream === true) {
        await streamAnswer(app, reply, question, options);
        return reply;
      }
      return reply
        .type('application/json')
        .serializer(String)
        .send(await wholeAnswer(reply, question, options));
    },
  );
};
