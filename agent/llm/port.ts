/** A language model back end as the agent knows it. */
import type { ChatRequest } from '../../shared/wire/chat.ts';

export interface ModelInfo {
  readonly id: string;
  readonly ownedBy: string;
}

export interface Backend {
  /** For logs and status, never shown outside the site. */
  readonly name: string;
  /** Requests it may run at once; more wait in the agent, where urgent work can overtake and cancelling is cheap. */
  readonly slots: number;
  /** Up to which more may be tried while it keeps up; without it, none. */
  readonly slotsMax?: number;
  /** Tokens that it holds at once, prompt and answer together; null or absent where nobody knows. */
  readonly tokensMax?: number | null;
  /** Announced price of a thousand tokens, in millionths of the federation's currency unit. */
  readonly tokenPriceMicros?: number | null;
  /** What it offers now; empty when it does not answer. */
  models(): Promise<readonly ModelInfo[]>;
  /**
   * JSON texts: the chunks of a stream as they come, or one whole completion when `request.stream` is not true.
   * @throws QflError `backend_failed`, `cancelled`, `invalid_request` (the back end's own refusal of the request)
   */
  chat(request: ChatRequest, signal: AbortSignal): AsyncIterable<string>;
}
