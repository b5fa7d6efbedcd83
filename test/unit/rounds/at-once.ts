/** Steps of a round in one go: programs take them with turns for others in between, tests do not wait. */
import {
  acceptingMembers,
  confirmingSurvivors,
  revealing,
  sharingSecrets,
  type Step,
} from '../../../agent/rounds/site-round.ts';
import { type Opening, openingMasks } from '../../../coordinator/rounds/opening.ts';
import type { RevealReply } from '../../../shared/rounds/messages.ts';
import { atOnce } from '../../../shared/rounds/slowly.ts';

type Of<Steps extends (...args: never[]) => unknown> = Parameters<Steps>;

export const shareSecrets = (...args: Of<typeof sharingSecrets>): Step<Uint8Array> =>
  atOnce(sharingSecrets(...args));
export const acceptMembers = (...args: Of<typeof acceptingMembers>): Step<undefined> =>
  atOnce(acceptingMembers(...args));
export const confirmSurvivors = (...args: Of<typeof confirmingSurvivors>): Step<string> =>
  atOnce(confirmingSurvivors(...args));
export const reveal = (...args: Of<typeof revealing>): Step<RevealReply> => atOnce(revealing(...args));
export const openMasks = (...args: Of<typeof openingMasks>): Opening => atOnce(openingMasks(...args));
