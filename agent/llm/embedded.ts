/** The extractive answerer in the clothes of a back end, so that it streams and counts like the rest. */
import { QflError } from '../../shared/errors.ts';
import type { ChatRequest } from '../../shared/wire/chat.ts';
import { type ExtractiveAnswerer, type ExtractiveMessage, EXTRACTIVE_MODEL } from './extractive.ts';
import type { Backend } from './port.ts';

export const EMBEDDED_SLOTS = 8;

/** The words of a message; parts that are not text have none. */
const textOf = (content: ChatRequest['messages'][number]['content']): string => {
  if (typeof content === 'string') return content;
  return (content ?? []).map((part) => (typeof part['text'] === 'string' ? part['text'] : '')).join('\n');
};

const toExtractive = ({ messages }: ChatRequest): ExtractiveMessage[] =>
  messages.map(({ role, content }) => ({
    role: role === 'function' ? 'tool' : role,
    content: textOf(content),
  }));

export const createEmbeddedBackend = (answerer: ExtractiveAnswerer, nowMs: () => number): Backend => {
  const shell = (object: string) => ({
    id: 'chatcmpl-extractive',
    object,
    created: Math.floor(nowMs() / 1_000),
    model: EXTRACTIVE_MODEL,
  });
  async function* events(request: ChatRequest, signal: AbortSignal) {
    if ((request.n ?? 1) !== 1)
      throw new QflError('invalid_request', {
        detail: `${EXTRACTIVE_MODEL} gives one choice`,
        next: 'Leave "n" out.',
      });
    const tokensMax = request.max_completion_tokens ?? request.max_tokens ?? undefined;
    yield* answerer.answer({
      messages: toExtractive(request),
      signal,
      ...(tokensMax === undefined ? {} : { tokensMax }),
    });
  }
  const usageOf = (end: { promptTokens: number; completionTokens: number }) => ({
    prompt_tokens: end.promptTokens,
    completion_tokens: end.completionTokens,
    total_tokens: end.promptTokens + end.completionTokens,
  });
  async function* stream(request: ChatRequest, signal: AbortSignal): AsyncGenerator<string> {
    const chunk = (delta: object, finish: string | null) =>
      JSON.stringify({
        ...shell('chat.completion.chunk'),
        choices: [{ index: 0, delta, finish_reason: finish }],
      });
    yield chunk({ role: 'assistant', content: '' }, null);
    for await (const event of events(request, signal)) {
      if (event.type === 'text') yield chunk({ content: event.text }, null);
      else {
        yield chunk({}, event.finishReason);
        if (request.stream_options?.include_usage === true)
          yield JSON.stringify({ ...shell('chat.completion.chunk'), choices: [], usage: usageOf(event) });
      }
    }
  }
  async function* whole(request: ChatRequest, signal: AbortSignal): AsyncGenerator<string> {
    let content = '';
    for await (const event of events(request, signal)) {
      if (event.type === 'text') content += event.text;
      else
        yield JSON.stringify({
          ...shell('chat.completion'),
          choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: event.finishReason }],
          usage: usageOf(event),
        });
    }
  }
  return {
    name: EXTRACTIVE_MODEL,
    slots: EMBEDDED_SLOTS,
    models: () => Promise.resolve([{ id: EXTRACTIVE_MODEL, ownedBy: 'qfl' }]),
    chat: (request, signal) => (request.stream === true ? stream(request, signal) : whole(request, signal)),
  };
};
