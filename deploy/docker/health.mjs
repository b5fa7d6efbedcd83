/**
 * The container's health check: `node health.mjs PORT` asks /health on loopback, over TLS first and plain HTTP when the program
 * serves none. It looks at its own container only, so the certificate proves nothing here and is not checked.
 */
import { get as getPlain } from 'node:http';
import { get as getTls } from 'node:https';

const TIMEOUT_MS = 3_000;
const port = Number(process.argv[2]);

const ask = (get) =>
  new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      path: '/health',
      rejectUnauthorized: false,
      timeout: TIMEOUT_MS,
    };
    const request = get(options, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('timeout', () => request.destroy(new Error('no answer in time')));
    request.on('error', reject);
  });

try {
  const status = await ask(getTls).catch(() => ask(getPlain));
  process.exitCode = status === 200 ? 0 : 1;
} catch {
  process.exitCode = 1;
}
