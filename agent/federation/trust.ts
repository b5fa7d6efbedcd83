/** Certificates to trust besides a pin: the system's, and a private CA where one is configured. */
import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import type { AgentConfig } from '../../shared/config/config.ts';
import { QflError } from '../../shared/errors.ts';

/** @throws QflError `config_invalid` when the file cannot be read */
export const readTrust = async ({ coordinator }: AgentConfig): Promise<readonly string[] | undefined> => {
  if (coordinator.caFile === null) return undefined;
  try {
    return [...rootCertificates, await readFile(coordinator.caFile, 'utf8')];
  } catch (cause) {
    throw new QflError('config_invalid', {
      detail: `the CA file ${coordinator.caFile} cannot be read`,
      cause,
    });
  }
};
