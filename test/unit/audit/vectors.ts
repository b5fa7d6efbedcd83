/** Published vectors that stand beside the project; tests that need them say so when they are missing. */
import { existsSync, readFileSync } from 'node:fs';

const folder = new URL('../../../../shared/vectors/', import.meta.url);

export const missing = (file: string): boolean => !existsSync(new URL(file, folder));
export const readVectors = (file: string): unknown =>
  missing(file) ? { vectors: [], notes: [] } : JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
