/**
 * The privacy ledger of a site (`security.md` §10). Reserve before anything is read, commit before anything is released:
 *
 *     const charge = await ledger.reserve(request);
 *     if (charge.status === 'answered') return charge.sealedAnswer;       // the same bytes, no new spend
 *     if (charge.status === 'running') return await charge.settled;       // joins the run that is alive
 *     charge.startComputing();                                            // from here on nothing is given back
 *     await charge.commit(sealedAnswer);                                  // durable; now it may be released
 *
 * One process holds a ledger; all sums are tested and changed between two awaits, so they need no lock.
 */
import { assert, QflError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/clock.ts';
import { openAtRest } from '../../shared/store/encrypted.ts';
import type { Mechanism } from '../../shared/privacy/mechanism.ts';
import { mechanismToText } from '../../shared/privacy/mechanism.ts';
import { type Asker, type Charge, sumByDay } from './accounts.ts';
import type { Place } from './answer-index.ts';
import { type HistoryEntry, readHistory } from './history.ts';
import { createIndexFeed, type IndexFeed } from './index-feed.ts';
import { createPolicy, LEDGER_KINDS, type LedgerKind, type LedgerLimits } from './limits.ts';
import { type OpenedLedger, type OpenOptions, openVerified, RESERVE_NAME } from './open.ts';
import { budgetExceeded, clockRefused, type LedgerReading, readLedger } from './readings.ts';
import {
  type ChargeKey,
  type DecodedRecord,
  decodeRecord,
  encodeRecord,
  keyText,
  type LedgerRecord,
  type PublicReason,
} from './records.ts';
import type { WitnessedHead } from './recover.ts';
import {
  type Answered,
  type ChargeFacts,
  createRun,
  failRun,
  joinRun,
  outcomeUnknown,
  type Run,
  type Running,
} from './runs.ts';
import { readFrames, type Scanned, scanJournal } from './scan.ts';
import { chargeOf } from './state.ts';
import { dayOf, decideWindow, type WindowDecision } from './window.ts';
import { type Appended, createWriter, recordName, type Writer } from './writer.ts';
