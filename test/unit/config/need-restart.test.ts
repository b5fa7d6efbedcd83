import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { needRestart } from '../../../coordinator/reload.ts';
import { loadConfig } from '../../../shared/config/load.ts';

const folder = mkdtempSync(join(tmpdir(), 'qfl-reload-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const configOf = async (yaml: string) => {
  const file = join(folder, 'coordinator.yaml');
  writeFileSync(file, yaml);
  return (await loadConfig('coordinator', { file, env: {} })).config;
};

describe('a new configuration of a running coordinator', () => {
  it('says which parts need a restart, and none of those that follow at once', async () => {
    const started = await configOf('');
    expect(needRestart(started, await configOf(''))).toEqual([]);
    const followed = 'public_url: https://c.example.org\nlog_level: debug\nsecurity: {lockout_minutes: 5}\n';
    expect(needRestart(started, await configOf(followed))).toEqual([]);
    const changed = 'listen: {port: 9999}\ntrusted_proxies: [127.0.0.1]\nlimits: {body_bytes: 70000}\n';
    expect(needRestart(started, await configOf(changed))).toEqual(['listen', 'trustedProxies', 'limits']);
  });
});
