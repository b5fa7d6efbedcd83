/**
 * TLS 1.3 for both HTTP faces: from certificate files, or self-signed with a fingerprint that the join token pins. Without
 * a certificate only loopback is bound.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import type { ServerOptions } from 'node:https';
import { isIP } from 'node:net';
import path from 'node:path';
import { generate } from 'selfsigned';
import { utf8 } from '../bytes.ts';
import { type Clock, DAY_MS } from '../clock.ts';
import { QflError } from '../errors.ts';
import { isMissing, writeWholeFile } from '../whole-file.ts';

export interface TlsMaterial {
  /** PEM; the server's certificate first, then its chain. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** SHA-256 of the server's certificate (DER), 64 lower-case hexadecimal characters. */
  readonly fingerprint: string;
  readonly notAfterMs: number;
}

/** Pinned, not chained: what ends its use is a new invitation, so it lives long and is renewed rarely. */
const SELF_SIGNED_DAYS = 3650;
const RENEW_BEFORE_MS = 30 * DAY_MS;

/** SHA-256 fingerprint of the first certificate in `pem` (or of a DER certificate), lower-case hex without colons. */
export const certificateFingerprint = (certificate: string | Uint8Array): string =>
  new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase();

const materialOf = (cert: string, key: string): TlsMaterial => {
  const certificate = new X509Certificate(cert);
  if (!certificate.checkPrivateKey(createPrivateKey(key))) {
    throw new QflError('config_invalid', {
      detail: 'the TLS key does not belong to the TLS certificate',
      next: 'Give the key that the certificate was issued for.',
    });
  }
  return {
    cert,
    key,
    fingerprint: certificateFingerprint(cert),
    notAfterMs: Date.parse(certificate.validTo),
  };
};

/** @throws QflError `config_invalid` when a file is missing, is not PEM, has expired, or the two do not belong together */
export const loadTlsFiles = async (
  { certFile, keyFile }: { readonly certFile: string; readonly keyFile: string },
  clock: Clock,
): Promise<TlsMaterial> => {
  let material: TlsMaterial;
  try {
    material = materialOf(await readFile(certFile, 'utf8'), await readFile(keyFile, 'utf8'));
  } catch (cause) {
    if (cause instanceof QflError) throw cause;
    throw new QflError('config_invalid', {
      detail: `the TLS certificate ${certFile} or its key ${keyFile} cannot be used`,
      next: 'Both have to be readable PEM files.',
      cause,
    });
  }
  if (material.notAfterMs > clock.nowMs()) return material;
  throw new QflError('config_invalid', { detail: `the TLS certificate ${certFile} has expired` });
};

const subjectAltNames = (hosts: readonly string[]) =>
  [...new Set(['localhost', '127.0.0.1', '::1', ...hosts])].map((host) =>
    isIP(host) === 0 ? { type: 2 as const, value: host } : { type: 7 as const, ip: host },
  );

const issue = async (hosts: readonly string[], clock: Clock): Promise<{ cert: string; key: string }> => {
  const nowMs = clock.nowMs();
  const made = await generate([{ name: 'commonName', value: hosts[0] ?? 'localhost' }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate: new Date(nowMs - DAY_MS),
    notAfterDate: new Date(nowMs + SELF_SIGNED_DAYS * DAY_MS),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames: subjectAltNames(hosts) },
    ],
  });
  return { cert: made.cert, key: made.private };
};

/** One file holds key and certificate, so that no crash leaves one without the other. */
const readKept = async (file: string): Promise<TlsMaterial | undefined> => {
  try {
    const pem = await readFile(file, 'utf8');
    const split = pem.indexOf('-----BEGIN CERTIFICATE-----');
    return materialOf(pem.slice(split), pem.slice(0, split));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new QflError('config_invalid', {
      detail: `the self-signed certificate in ${file} cannot be used`,
      next: 'Restore the file, or remove it to make a new one; agents that pinned the old one then have to join again.',
      cause: error,
    });
  }
};

/**
 * A self-signed EC P-256 certificate kept in `folder` (file mode 0600), reused until 30 days before it expires.
 * @throws QflError `config_invalid` when the kept file is damaged
 */
export const selfSignedTls = async (
  { folder, hosts }: { readonly folder: string; readonly hosts: readonly string[] },
  clock: Clock,
): Promise<TlsMaterial> => {
  const file = path.join(folder, 'tls-self-signed.pem');
  const kept = await readKept(file);
  if (kept !== undefined && kept.notAfterMs - RENEW_BEFORE_MS > clock.nowMs()) return kept;
  const { cert, key } = await issue(hosts, clock);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeWholeFile(file, utf8(`${key.trim()}\n${cert.trim()}\n`));
  return materialOf(`${cert.trim()}\n`, `${key.trim()}\n`);
};

/** Server options: TLS 1.3 and nothing older. */
export const tlsServerOptions = ({ cert, key }: TlsMaterial): ServerOptions => ({
  cert,
  key,
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
});

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

/** Does this address stay on this machine? */
export const isLoopbackUrl = (url: string): boolean => {
  const hostname = URL.canParse(url) ? new URL(url).hostname : '';
  // An address of IPv6 stands in brackets.
  return isLoopback(hostname.replaceAll(/[[\]]/g, ''));
};

/** @throws QflError `config_invalid` when `host` is not loopback and there is no certificate */
export const assertBindable = (host: string, tls: TlsMaterial | undefined): void => {
  if (tls !== undefined || isLoopback(host)) return;
  throw new QflError('config_invalid', {
    detail: `${host} is not a loopback address, and there is no TLS certificate`,
    next: 'Give tls.cert_file and tls.key_file, or set tls.self_signed (--tls-self-signed), or listen on 127.0.0.1.',
  });
};

/** The certificate that a configuration asks for, if it asks for one. @throws QflError `config_invalid` */
export const tlsOf = (
  choice: { readonly certFile: string | null; readonly keyFile: string | null; readonly selfSigned: boolean },
  selfSigned: { readonly folder: string; readonly hosts: readonly string[] },
  clock: Clock,
): Promise<TlsMaterial | undefined> => {
  const { certFile, keyFile } = choice;
  if (certFile !== null && keyFile !== null) return loadTlsFiles({ certFile, keyFile }, clock);
  return choice.selfSigned ? selfSignedTls(selfSigned, clock) : Promise.resolve(undefined);
};
