/**
 * One TLS 1.3 connection to a server of ours, direct or through a CONNECT proxy, whose certificate is checked before a byte of the
 * request leaves: against the pinned fingerprint, else against a private CA or the system's.
 */
import { request as httpRequest } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { QflError } from '../errors.ts';

export interface TlsTarget {
  readonly host: string;
  readonly port: number;
  /** SHA-256 of the server's certificate, hex; takes the place of the chain and the name. */
  readonly pinnedFingerprint?: string | undefined;
  /** PEM of a private CA, beside the system's. */
  readonly ca?: readonly string[] | undefined;
  readonly proxy?: URL | undefined;
  readonly timeoutMs: number;
}

const unreachable = (target: TlsTarget, cause: unknown): QflError =>
  new QflError('not_connected', {
    detail: `${target.host}:${target.port} could not be reached${target.proxy ? ' through the proxy' : ''}.`,
    next: 'Check the address, that the program runs, and the proxy settings.',
    cause,
  });

/** The raw socket that a CONNECT proxy opened. */
const connectThrough = (proxy: URL, target: TlsTarget): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    const host = isIP(target.host) === 6 ? `[${target.host}]` : target.host;
    const request = httpRequest({
      host: proxy.hostname,
      port: proxy.port || 80,
      method: 'CONNECT',
      path: `${host}:${target.port}`,
      timeout: target.timeoutMs,
      agent: false,
      headers: {
        host: `${host}:${target.port}`,
        ...(proxy.username === ''
          ? {}
          : { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }),
      },
    });
    request.once('connect', (response, socket) => {
      if (response.statusCode === 200) return resolve(socket);
      socket.destroy();
      return reject(unreachable(target, new Error(`the proxy answered ${response.statusCode}`)));
    });
    request.once('timeout', () => request.destroy(new Error('the proxy did not answer in time')));
    request.once('error', (cause) => reject(unreachable(target, cause)));
    request.end();
  });

const fingerprintOf = (socket: TLSSocket): string =>
  (socket.getPeerX509Certificate()?.fingerprint256 ?? '').replaceAll(':', '').toLowerCase();

const CERTIFICATE_FAULT = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME/;

const faultOf = (target: TlsTarget, cause: Error): QflError => {
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  if (!CERTIFICATE_FAULT.test(code)) return unreachable(target, cause);
  return new QflError('unknown_key', {
    detail: `The certificate of ${target.host}:${target.port} is not trusted here (${code}).`,
    next: 'Give the CA file, or pin the fingerprint that the server prints at its start.',
    cause,
  });
};

/** @throws QflError `not_connected`, `unknown_key` */
export const openTls = async (target: TlsTarget): Promise<TLSSocket> => {
  const { host, port, pinnedFingerprint, ca, proxy, timeoutMs } = target;
  const raw = proxy === undefined ? undefined : await connectThrough(proxy, target);
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      ...(raw === undefined ? { host, port } : { socket: raw }),
      ...(isIP(host) === 0 ? { servername: host } : { host }),
      ...(ca === undefined ? {} : { ca: [...ca] }),
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['http/1.1'],
      // With a pin the certificate itself is compared below; its chain and name say nothing more.
      rejectUnauthorized: pinnedFingerprint === undefined,
    });
    const fail = (fault: QflError): void => {
      socket.destroy();
      reject(fault);
    };
    socket.setTimeout(timeoutMs, () => fail(unreachable(target, new Error('no TLS handshake in time'))));
    socket.once('error', (cause) => fail(faultOf(target, cause)));
    socket.once('secureConnect', () => {
      socket.setTimeout(0);
      if (pinnedFingerprint === undefined || fingerprintOf(socket) === pinnedFingerprint)
        return resolve(socket);
      return fail(
        new QflError('unknown_key', {
          detail: `${host}:${port} does not show the pinned certificate.`,
          next: 'Someone may stand between; ask the operator for the fingerprint by another way.',
        }),
      );
    });
  });
};
