/**
 * The chat request that travels sealed, in OpenAI's form. Only what routing and policy need is read; everything else
 * (tools, response formats, sampling) passes untouched to the back end.
 */
import { z } from 'zod';

const ContentPart = z.looseObject({ type: z.string().max(40) });

export const ChatMessage = z.looseObject({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
  content: z.union([z.string(), z.array(ContentPart), z.null()]).optional(),
});

export const ChatRequest = z.looseObject({
  model: z.string().min(1).max(128),
  messages: z.array(ChatMessage).min(1).max(10_000),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
  max_tokens: z.int().positive().nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  n: z.int().positive().nullish(),
});
export type ChatRequest = z.infer<typeof ChatRequest>;

/**
 * What a request may say of its ties to others: the conversation it belongs to (OpenAI's `prompt_cache_key` says the same), and a group of copies of
 * which no two should be answered at one site. Outside its site only blind tokens of them are seen (`agent/answer/affinity.ts`). What has another form is
 * some back end's own affair and ties nothing.
 */
const tie = z.string().min(1).max(256).optional().catch(undefined);
export const CouplingHints = z.object({
  metadata: z
    .object({ conversation_id: tie, session_id: tie, redundancy_group: tie })
    .nullish()
    .catch(undefined),
  prompt_cache_key: tie.nullable(),
});

/** What a back end sends: `data` of one event of a stream, or the one whole completion; JSON texts. */
export const ChatChunk = z.looseObject({
  id: z.string().optional(),
  choices: z.array(z.looseObject({ index: z.int().optional(), finish_reason: z.string().nullish() })),
  usage: z.unknown().optional(),
});
export type ChatChunk = z.infer<typeof ChatChunk>;
