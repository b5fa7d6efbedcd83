/** Charges queries as fast as it can until it is killed; tells each acknowledgement on its standard output. */
import { writeSync } from 'node:fs';
import { chargeNumbered, openIn } from './ledger-fixture.ts';

const IN_FLIGHT = 16;
const [folder, first] = process.argv.slice(2);
if (folder === undefined || first === undefined) throw new Error('usage: ledger-child FOLDER FIRST');

const { ledger } = await openIn(folder, folder);
let next = Number(first);
const work = async (): Promise<void> => {
  for (;;) {
    const number = next;
    next += 1;
    // Synchronous: what was acknowledged is in the pipe before anything else happens.
    await chargeNumbered(ledger, number, (what, told) => writeSync(1, `${what} ${told}\n`));
  }
};
await Promise.all(Array.from({ length: IN_FLIGHT }, work));
