/** What a new configuration changes that a running coordinator cannot put into force: said plainly, instead of being ignored. */
import { isDeepStrictEqual } from 'node:util';
import type { CoordinatorConfig } from '../shared/config/config.ts';

/** Read once at the start: ports, files, limits of the server, pools and clocks that are made with them. Everything else is asked for each time. */
const AT_THE_START = [
  'home',
  'listen',
  'tls',
  'metrics',
  'trustedProxies',
  'limits',
  'audit',
  'logFile',
  'workers',
  'cache',
  'simulator',
  'healthIntervalMs',
] as const satisfies readonly (keyof CoordinatorConfig)[];

/** @returns the parts that need a restart to come into force */
export const needRestart = (started: CoordinatorConfig, next: CoordinatorConfig): readonly string[] =>
  AT_THE_START.filter((part) => !isDeepStrictEqual(started[part], next[part]));
