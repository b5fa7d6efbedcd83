/** Which proxy a request goes through: HTTPS_PROXY and NO_PROXY as curl reads them; loopback never goes through one. */
import { isLoopback } from './tls.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const variable = (env: Environment, name: string): string => env[name.toLowerCase()] ?? env[name] ?? '';

const excepted = (host: string, port: string, noProxy: string): boolean =>
  noProxy
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const [, name = entry, entryPort] = /^(.+?)(?::(\d+))?$/.exec(entry) ?? [];
      const suffix = name.replace(/^\*?\./, '').toLowerCase();
      return (
        (entryPort === undefined || entryPort === port) && (host === suffix || host.endsWith(`.${suffix}`))
      );
    });

/** The proxy for an `https:` or `wss:` URL, or undefined for a direct connection. */
export const proxyFor = (url: URL, env: Environment): URL | undefined => {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const proxy = variable(env, 'HTTPS_PROXY') || variable(env, 'ALL_PROXY');
  const isSecure = url.protocol === 'https:' || url.protocol === 'wss:';
  if (proxy === '' || !isSecure || isLoopback(host)) return undefined;
  if (excepted(host, url.port || '443', variable(env, 'NO_PROXY'))) return undefined;
  return new URL(proxy.includes('://') ? proxy : `http://${proxy}`);
};
