/** Lines and server-sent events out of chunks that break anywhere, also inside a character. */
import { QflError } from '../errors.ts';

const LINE_CHARS_MAX = 16 * 1024 * 1024;

export interface SseEvent {
  /** `message` unless the stream named it. */
  readonly event: string;
  readonly data: string;
}

/** Lines without their ends (LF or CRLF); a last line without an end counts too. */
export async function* readLines(source: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of source) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LINE_CHARS_MAX)
      throw new QflError('protocol', { detail: 'A line of the answer is too long.' });
    for (const line of lines) yield line.replace(/\r$/, '');
  }
  rest += decoder.decode();
  if (rest !== '') yield rest;
}

/** Events as the HTML standard §9.2.6 reads them; comments and ids are dropped, an event cut before its empty line too. */
export async function* readSse(source: AsyncIterable<Uint8Array>): AsyncIterable<SseEvent> {
  let event = '';
  let data: string[] = [];
  for await (const line of readLines(source)) {
    if (line === '') {
      if (data.length > 0) yield { event: event === '' ? 'message' : event, data: data.join('\n') };
      [event, data] = ['', []];
      continue;
    }
    const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (field === 'data') data.push(value);
    else if (field === 'event') event = value;
  }
}
