/** What the ledger's process tests and their child share: a real folder, real files, a real index. */
import path from 'node:path';
import {
  type ChargeRequest,
  createLedger,
  DEFAULT_LIMITS,
  type Ledger,
  openLedger,
} from '../../agent/budget/ledger.ts';
import { nodeLedgerFolder } from '../../agent/budget/node-disk.ts';
import { systemClock } from '../../shared/clock.ts';
import { DepartmentId, Pseudonym, QueryId, SiteId } from '../../shared/ids.ts';
import { microEpsilon } from '../../shared/privacy/epsilon.ts';
import { discreteLaplace } from '../../shared/privacy/mechanism.ts';
import { rational } from '../../shared/privacy/rational.ts';
import { encryptedStore } from '../../shared/store/encrypted.ts';
import { openLevelStore } from '../../shared/store/level.ts';

const DATA_KEY = new Uint8Array(32).fill(3);
const ample = { microEpsilon: microEpsilon(1e12), delta: '1e-5' };
const department = DepartmentId.parse('general');

/** Budgets that refuse nothing: what is tested is that no spend is lost. */
const LIMITS = {
  ...DEFAULT_LIMITS,
  userDay: ample,
  askingSiteDay: ample,
  siteLifetime: ample,
  departmentDay: { [department]: ample },
};

export const numberedRequest = (number: number): ChargeRequest => ({
  sender: SiteId.parse('south'),
  queryId: QueryId.parse(number.toString(16).padStart(32, '0')),
  envelopeHash: 'ab'.repeat(32),
  asker: Pseudonym.parse('00'.repeat(16)),
  department,
  mechanisms: [discreteLaplace(1n, rational(10n))],
});

/** The answer of a query: known from its number, of sizes that fill sectors in different ways. */
export const numberedAnswer = (number: number): Uint8Array =>
  Buffer.alloc(100 + ((number * 997) % 8_000), `answer ${number} `);

const place = async (folder: string) => ({
  folder: await nodeLedgerFolder(path.join(folder, 'ledger')),
  dataKey: DATA_KEY,
  clock: systemClock,
  site: SiteId.parse('north'),
});

export const createIn = async (folder: string): Promise<void> =>
  createLedger({ ...(await place(folder)), limits: LIMITS });

export interface OpenIn {
  readonly ledger: Ledger;
  readonly close: () => Promise<void>;
}

/** The index lies in `storeFolder`, which may be on another disk. */
export const openIn = async (folder: string, storeFolder: string): Promise<OpenIn> => {
  const store = await openLevelStore(path.join(storeFolder, 'store'));
  try {
    const ledger = await openLedger({
      ...(await place(folder)),
      store: encryptedStore(store, DATA_KEY),
      freeBytesFloor: 256 * 1024,
      reserveBytes: 256 * 1024,
    });
    return {
      ledger,
      close: async () => {
        await ledger.close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
};

/** Charges and answers one query; what is told is told in between. */
export const chargeNumbered = async (
  ledger: Ledger,
  number: number,
  tell: (what: 'charged' | 'answered', number: number) => void,
): Promise<void> => {
  const charge = await ledger.reserve(numberedRequest(number));
  if (charge.status !== 'reserved') throw new Error(`query ${number} is new`);
  tell('charged', number);
  charge.startComputing();
  await charge.commit(numberedAnswer(number));
  tell('answered', number);
};
