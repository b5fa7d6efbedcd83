/** An answer read as it comes, down to its bytes: what a client has seen at a moment, and how the stream ended. */
import { eventually } from '../fixtures/processes.ts';

export interface OpenAnswer {
  /** Everything that came so far. */
  seen(): string;
  /** Waits until `text` came. */
  until(text: string): Promise<void>;
  /** Everything, once the stream is over, however it ended. */
  rest(): Promise<string>;
}

/** Posts a streaming chat. */
export const openAnswer = async (siteUrl: string, key: string, body: object): Promise<OpenAnswer> => {
  const response = await fetch(`${siteUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ ...body, stream: true }),
  });
  if (response.body === null) throw new Error('an answer without a body');
  let seen = '';
  const read = async (stream: AsyncIterable<Uint8Array>): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) seen += decoder.decode(bytes, { stream: true });
  };
  // A connection that is torn ends the text as well; what came before it is what counts.
  const ended = read(response.body).catch(() => undefined);
  return {
    seen: () => seen,
    until: async (text) => void (await eventually(`the answer says ${text}`, () => seen.includes(text))),
    async rest() {
      await ended;
      return seen;
    },
  };
};
