/** What lies on the disk: a real LevelDB folder is searched byte by byte for what must not be there. */
import { expect, it } from 'vitest';
import { encryptedStore } from '../../../shared/store/encrypted.ts';
import { DATA_KEY } from '../../fixtures/fhir.ts';
import { searchDisk } from '../../fixtures/fhir-at-rest.ts';

it('leaves no name, id, code, note or document in the raw store', async () => {
  expect(await searchDisk((inner) => encryptedStore(inner, DATA_KEY))).toEqual({
    secretsFound: [],
    prefixFound: true,
  });
});
