/** `/metrics` on a port of its own, for networks where the main one is not to be scraped. Nothing else answers there. */
import { createServer } from 'node:http';
import { QflError } from '../errors.ts';
import type { Metrics } from './metrics.ts';

/** @throws QflError `conflict` when the port is taken */
export const serveMetrics = async (
  metrics: Metrics,
  address: { readonly host: string; readonly port: number },
): Promise<() => Promise<void>> => {
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    metrics.render().then(
      (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new QflError('conflict', { detail: `the metrics port ${address.port} cannot be listened on`, cause }),
      ),
    );
    server.listen(address.port, address.host, resolve);
  });
  return () => new Promise((resolve) => server.close(() => resolve()));
};

/** Where `/metrics` is answered: on the main port, on its own, or nowhere. */
export type MetricsPlace = 'main' | 'own' | 'nowhere';
export const metricsPlace = ({
  enabled,
  port,
}: {
  readonly enabled: boolean;
  readonly port: number | null;
}): MetricsPlace => {
  if (!enabled) return 'nowhere';
  return port === null ? 'main' : 'own';
};
