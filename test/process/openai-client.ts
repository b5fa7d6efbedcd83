/** How the tests use the unchanged OpenAI client. */
import type OpenAI from 'openai';
import { z } from 'zod';

export const PROMPT = 'Is the zanthorexin plan of bed 7 safe?';

export const asks = (model: string, content = PROMPT) => ({
  model,
  messages: [{ role: 'user' as const, content }],
});

/** What a call was refused with; undefined when it was not. */
export const failure = (promise: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(promise).then(
    () => undefined,
    (error: unknown) => error,
  );

/** What a reader of a stream gets: its text, and the error that ended it. */
export const readStream = async (
  client: OpenAI,
  model: string,
): Promise<{ text: string; error: unknown }> => {
  let text = '';
  try {
    const stream = await client.chat.completions.create({ ...asks(model), stream: true });
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    return { text, error: undefined };
  } catch (error) {
    return { text, error };
  }
};

const Facts = z.object({
  qfl: z.looseObject({
    site: z.string(),
    plan: z
      .looseObject({ site: z.string(), refusals: z.array(z.object({ site: z.string(), code: z.string() })) })
      .nullable(),
  }),
});
/** Where an answer came from, as it says of itself. */
export const factsOf = (answer: object): z.infer<typeof Facts>['qfl'] => Facts.parse(answer).qfl;
