/**
 * Which model may read records: one whose back end is inside the site. Records go to no address outside the hospital's own network,
 * whatever is configured for chat; the embedded answerer reads documents only, never records.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import { QflError } from '../../../shared/errors.ts';
import type { Backend } from '../../llm/port.ts';
import type { RecordsModel } from './plan-tally.ts';

const PRIVATE_IPV4 = /^(?:127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|169\.254\.)/;
const PRIVATE_IPV6 = /^(?:::1$|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:)/i;
const PRIVATE_NAME = /^(?:localhost|[a-z0-9-]+|.+\.(?:local|lan|internal|intranet|home\.arpa))$/i;

/** By the address as it is written: loopback, private ranges (RFC 1918, RFC 4193), names without a public domain. */
export const isInsideSite = (url: string): boolean => {
  const host = new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) === 4) return PRIVATE_IPV4.test(host);
  return isIP(host) === 6 ? PRIVATE_IPV6.test(host) : PRIVATE_NAME.test(host);
};

const ANSWER_TOKENS_MAX = 128;
const Completion = z.looseObject({
  choices: z.array(z.looseObject({ message: z.looseObject({ content: z.string().nullish() }) })).min(1),
});

const completeWith =
  (backend: Backend, model: string): RecordsModel['complete'] =>
  async ({ system, user }, signal) => {
    const request = {
      model,
      max_tokens: ANSWER_TOKENS_MAX,
      temperature: 0,
      // Servers that keep prompts between calls are told not to: one shard's call must not see another's.
      cache_prompt: false,
      messages: [
        { role: 'system' as const, content: system },
        { role: 'user' as const, content: user },
      ],
    };
    let text = '';
    for await (const piece of backend.chat(request, signal)) text += piece;
    const content = Completion.parse(JSON.parse(text)).choices[0]?.message.content;
    if (typeof content !== 'string') throw new QflError('backend_failed', { detail: 'no words' });
    return content;
  };

export interface ListedBackend {
  readonly url: string;
  readonly backend: Backend;
}

/** The first model of the first back end inside the site that answers. */
export const createRecordsModel =
  (backends: readonly ListedBackend[]) =>
  async (): Promise<(RecordsModel & { readonly id: string }) | undefined> => {
    for (const { url, backend } of backends) {
      const [model] = isInsideSite(url) ? await backend.models() : [];
      if (model !== undefined)
        return { id: model.id, slots: backend.slots, complete: completeWith(backend, model.id) };
    }
    return undefined;
  };
