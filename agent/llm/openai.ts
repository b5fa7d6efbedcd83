/** Any OpenAI-compatible server as a back end: Ollama, vLLM, llama.cpp, or a gateway in front of them. */
import { Agent, request } from 'undici';
import { z } from 'zod';
import { abortedBy, QflError } from '../../shared/errors.ts';
import type { ChatRequest } from '../../shared/wire/chat.ts';
import type { Backend, ModelInfo } from './port.ts';

export interface OpenAiBackendOptions {
  readonly name: string;
  /** Up to and including `/v1`. */
  readonly baseUrl: string;
  readonly apiKey: string | undefined;
  readonly slots: number;
  readonly slotsMax?: number;
  readonly tokensMax?: number | null;
  readonly tokenPriceMicros?: number | null;
  /** Only these are offered; all when undefined. */
  readonly models: readonly string[] | undefined;
  /** Silence after which a stream counts as dead. */
  readonly silenceMaxMs: number;
}

const MODELS_TIMEOUT_MS = 5_000;
const MODELS_KEEP_MS = 10_000;
const REFUSAL_BYTES_MAX = 4_096;
const COMPLETION_BYTES_MAX = 8 * 1_048_576;
const EVENT_BYTES_MAX = 1_048_576;

const ModelList = z.looseObject({
  data: z.array(z.looseObject({ id: z.string().max(128), owned_by: z.string().optional() })),
});
const Refusal = z.looseObject({ error: z.union([z.string(), z.looseObject({ message: z.string() })]) });

/** `data` of each server-sent event; other fields are skipped (WHATWG HTML, 9.2). */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of body) {
    rest += decoder.decode(bytes, { stream: true });
    if (rest.length > EVENT_BYTES_MAX)
      throw new QflError('backend_failed', { detail: 'the back end sent an endless line' });
    const lines = rest.split(/\r\n|\n|\r/);
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('data:')) yield line.slice(5).trimStart();
  }
}

const limitedText = async (body: AsyncIterable<Uint8Array>, bytesMax: number): Promise<string> => {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.byteLength;
    if (bytes > bytesMax) throw new QflError('backend_failed', { detail: 'the back end sent too much' });
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
};

const refusalText = async (body: AsyncIterable<Uint8Array>): Promise<string> => {
  try {
    const parsed = Refusal.parse(JSON.parse(await limitedText(body, REFUSAL_BYTES_MAX)));
    return typeof parsed.error === 'string' ? parsed.error : parsed.error.message;
  } catch {
    return 'no reason given';
  }
};

export const createOpenAiBackend = (options: OpenAiBackendOptions): Backend & { close(): Promise<void> } => {
  const { name, baseUrl, apiKey, slots, silenceMaxMs } = options;
  const { slotsMax = slots, tokensMax = null, tokenPriceMicros = null } = options;
  const dispatcher = new Agent({
    connections: null,
    headersTimeout: silenceMaxMs,
    bodyTimeout: silenceMaxMs,
    keepAliveTimeout: 30_000,
  });
  const headers = {
    'content-type': 'application/json',
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
  };
  let known: { models: readonly ModelInfo[]; untilMs: number } | undefined;
  const failed = (detail: string, cause?: unknown): QflError =>
    new QflError('backend_failed', { detail: `back end ${name}: ${detail}`, cause });

  const fetchModels = async (): Promise<readonly ModelInfo[]> => {
    const { statusCode, body } = await request(`${baseUrl}/models`, {
      dispatcher,
      headers,
      headersTimeout: MODELS_TIMEOUT_MS,
      bodyTimeout: MODELS_TIMEOUT_MS,
    });
    const text = await limitedText(body, EVENT_BYTES_MAX);
    if (statusCode !== 200) throw failed(`status ${statusCode} for its models`);
    const { data } = ModelList.parse(JSON.parse(text));
    return data
      .map(({ id, owned_by: ownedBy }) => ({ id, ownedBy: ownedBy ?? name }))
      .filter(({ id }) => options.models?.includes(id) ?? true);
  };
  const send = async (body: ChatRequest, signal: AbortSignal) => {
    try {
      return await request(`${baseUrl}/chat/completions`, {
        dispatcher,
        method: 'POST',
        headers,
        body: JSON.stringify(body),
        signal,
      });
    } catch (cause) {
      throw signal.aborted ? abortedBy(signal) : failed('cannot be reached', cause);
    }
  };
  async function* chat(body: ChatRequest, signal: AbortSignal): AsyncGenerator<string> {
    const response = await send(body, signal);
    if (response.statusCode !== 200) {
      const reason = await refusalText(response.body);
      // What the back end finds wrong with the request is the asker's to mend; the rest is the site's.
      if (response.statusCode === 400 || response.statusCode === 422)
        throw new QflError('invalid_request', { detail: reason });
      if (response.statusCode === 429 || response.statusCode === 503)
        throw new QflError('overloaded', { detail: `back end ${name} is full` });
      throw failed(`status ${response.statusCode}`);
    }
    try {
      if (body.stream !== true) yield await limitedText(response.body, COMPLETION_BYTES_MAX);
      else yield* untilDone(readEvents(response.body));
    } catch (error) {
      if (error instanceof QflError) throw error;
      throw signal.aborted ? abortedBy(signal) : failed('the answer broke off', error);
    }
  }
  async function* untilDone(events: AsyncIterable<string>): AsyncGenerator<string> {
    for await (const data of events) {
      if (data === '[DONE]') return;
      yield data;
    }
    throw failed('the stream ended without [DONE]');
  }

  return {
    name,
    slots,
    slotsMax,
    tokensMax,
    tokenPriceMicros,
    chat,
    async models() {
      if (known !== undefined && performance.now() < known.untilMs) return known.models;
      const models = await fetchModels().catch(() => []);
      known = { models, untilMs: performance.now() + MODELS_KEEP_MS };
      return models;
    },
    close: () => dispatcher.close(),
  };
};
