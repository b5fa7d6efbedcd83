import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/bench/**', '**/node_modules/**'],
    // Real processes share two cores: a generous bound that only a hang reaches; speed is measured in test/bench.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
  },
});
