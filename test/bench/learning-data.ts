/** Where the public data of the learning benchmarks lies: `QFL_DATA`, or beside the project. */
import path from 'node:path';
import { projectRoot } from '../fixtures/processes.ts';

export const dataPath = (name: string): string =>
  path.join(process.env['QFL_DATA'] ?? path.join(projectRoot, '../shared/data'), name);
