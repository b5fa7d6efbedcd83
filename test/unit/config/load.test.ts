import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { ENVIRONMENT, OTHER_ENVIRONMENT } from '../../../shared/config/environment.ts';
import { checkConfig, type ConfigFault, loadConfig } from '../../../shared/config/load.ts';
import { nearest } from '../../../shared/config/suggest.ts';
import { QflError } from '../../../shared/errors.ts';

const FIELD = fileURLToPath(new URL('../../../../shared/design/field-config.yaml', import.meta.url));

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'qfl-config-'));
});
afterAll(() => rm(folder, { recursive: true }));

let files = 0;
const fileOf = async (text: string): Promise<string> => {
  files += 1;
  const file = path.join(folder, `${files}.yaml`);
  await writeFile(file, text);
  return file;
};

const faultsOf = async (
  text: string,
  env: Record<string, string> = {},
  program: 'agent' | 'coordinator' = 'coordinator',
): Promise<readonly ConfigFault[]> => {
  const source = { file: await fileOf(text), env };
  try {
    await (program === 'agent' ? loadConfig('agent', source) : loadConfig('coordinator', source));
    return [];
  } catch (error) {
    if (!(error instanceof QflError) || error.code !== 'config_invalid') throw error;
    return (error.facts?.['faults'] ?? []) as readonly ConfigFault[];
  }
};

describe.skipIf(!existsSync(FIELD))('the field documents (needs ../shared/design)', () => {
  test('their file is accepted as it stands, and nothing that is not honoured passes in silence', async () => {
    const { program, notices } = await checkConfig(FIELD);
    expect(program).toBe('coordinator');
    const paths = notices.map((notice) => notice.path);
    expect(paths).toContain('auth.oauth2.providers');
    expect(paths).toContain('backends.ionq.timeout');
    expect(paths).toContain('liquid.sparsity');
    expect(paths.some((one) => one.startsWith('privacy'))).toBe(false);
  });

  test('their values are our defaults', async () => {
    const fromFile = await loadConfig('coordinator', { file: FIELD, env: {} });
    const fromNothing = await loadConfig('coordinator', { env: {} });
    expect(fromFile.config).toEqual(fromNothing.config);
    expect(fromNothing.notices).toEqual([]);
    expect(fromFile.config).toMatchObject({
      listen: { host: '127.0.0.1', port: 8080 },
      privacy: { epsilonPerQuery: 0.1, siteLifetimeBudgetEpsilon: 20 },
    });
    expect((await loadConfig('agent', { file: FIELD, env: {} })).config.listen.port).toBe(7070);
  });

  test('every environment name they list is known', async () => {
    const text = await readFile(FIELD, 'utf8');
    const listed = text.slice(text.indexOf('# Environment')).match(/\b[A-Z][A-Z0-9_]{3,}\b/g) ?? [];
    const elsewhere = ['MASTER_KEY', 'QUANTUM_CONFIG_PATH', 'HTTPS_PROXY', 'NO_PROXY', 'NODE_EXTRA_CA_CERTS'];
    const known = new Set([
      ...ENVIRONMENT.map(({ name }) => name),
      ...Object.keys(OTHER_ENVIRONMENT),
      ...elsewhere,
    ]);
    expect(listed.length).toBeGreaterThan(30);
    expect(listed.filter((name) => !known.has(name))).toEqual([]);
  });
});

describe('faults', () => {
  it('are all reported at once, with key and line', async () => {
    const faults = await faultsOf(
      [
        'listen:',
        '  port: 99999',
        'privcy: {delta: 1}',
        'privacy:',
        '  epsilon_per_query: 2',
        '  epsilon_per_qury: 1',
        'security: {enable_encryption: false, enable_audit_trail: false}',
        'performance:',
        '  scaling_policies:',
        '    - {trigger: x, scale_up_threshold: 2, scale_down_threshold: 0.1, min_instances: 1, max_instances: 2}',
      ].join('\n'),
    );
    const lines = Object.fromEntries(faults.map((fault) => [fault.path, fault.line]));
    expect(lines).toEqual({
      'listen.port': 2,
      privcy: 3,
      'privacy.epsilon_per_query': 5,
      'privacy.epsilon_per_qury': 6,
      'security.enable_encryption': 7,
      'security.enable_audit_trail': 7,
      'performance.scaling_policies.0.scale_up_threshold': 10,
    });
    const messages = Object.fromEntries(faults.map((fault) => [fault.path, fault.message]));
    expect(messages['privcy']).toBe('unknown key; did you mean privacy?');
    expect(messages['privacy.epsilon_per_qury']).toBe('unknown key; did you mean epsilon_per_query?');
    expect(messages['security.enable_encryption']).toContain('refused');
  });

  it.each([
    ['listen: [', ''],
    ['a: 1\na: 2', ''],
    ['- 1', ''],
    ['tls: {cert_file: a}', 'tls'],
    ['tls: {cert_file: a, key_file: b, self_signed: true}', 'tls.self_signed'],
    ['privacy: {epsilon_per_query: 0.5, epsilon_per_query_max: 0.2}', 'privacy.epsilon_per_query'],
    ['security: {password_policy: {min_length: 7}}', 'security.password_policy.min_length'],
    ['auth: {jwt: {algorithm: HS256}}', 'auth.jwt.algorithm'],
    ['performance: {auto_scaling: {min_capacity: 5, max_capacity: 2}}', 'performance.auto_scaling'],
    ['coordinator: {url: "https://x"}', 'coordinator'],
  ])('in %s', async (text, where) => {
    expect((await faultsOf(text)).map((fault) => fault.path)).toEqual([where]);
  });

  it('of an agent: back ends named twice, a key in the file', async () => {
    const text = 'llm:\n  - {name: a, url: "http://x"}\n  - {name: a, url: "http://y"}';
    expect(await faultsOf(text, {}, 'agent')).toMatchObject([{ path: 'llm.1.name', line: 3 }]);
    const keyed = 'llm: [{name: a, url: "http://x", api_key_env: sk-123}]';
    expect(await faultsOf(keyed, {}, 'agent')).toMatchObject([{ path: 'llm.0.api_key_env' }]);
  });

  it('of the environment name the variable', async () => {
    const env = { QFL_LISTEN_PORT: 'many', LOG_LEVEL: 'loud' };
    expect(await faultsOf('home: x', env)).toMatchObject([
      { path: 'log_level', variable: 'LOG_LEVEL' },
      { path: 'listen.port', variable: 'QFL_LISTEN_PORT' },
    ]);
  });

  it('of a file that is not there', async () => {
    const loading = loadConfig('agent', { file: path.join(folder, 'none'), env: {} });
    await expect(loading).rejects.toMatchObject({ code: 'config_invalid' });
  });
});

describe('settings', () => {
  it('come from the file, and the environment wins', async () => {
    const file = await fileOf(
      'log_level: warn\nlisten: {port: 1000}\nhome: /srv/a\nllm: [{name: a, url: "http://x/v1"}]',
    );
    const env = {
      LOG_LEVEL: 'DEBUG',
      QFL_LISTEN_PORT: '2000',
      SSL_CERT_PATH: '/c',
      SSL_KEY_PATH: '/k',
      QFL_HOME: '',
    };
    const { config } = await loadConfig('agent', { env: { ...env, QUANTUM_CONFIG_PATH: file } });
    expect(config).toMatchObject({
      logLevel: 'debug',
      listen: { port: 2000 },
      home: '/srv/a',
      tls: { certFile: '/c', keyFile: '/k', selfSigned: false },
      llm: [{ name: 'a', apiKeyEnv: null, models: null }],
    });
  });

  it('are frozen to the last leaf', async () => {
    const { config } = await loadConfig('coordinator', { env: {} });
    expect(() => Object.assign(config.listen, { port: 1 })).toThrowError(TypeError);
    expect(Object.isFrozen(config.limits.rateLimit)).toBe(true);
  });

  it.each([
    ['aggressive', { strategy: 'throughput_focused', queueFactor: 2 }],
    ['conservative', { strategy: 'latency_focused', queueFactor: 0.5 }],
    ['balanced', { strategy: 'balanced', queueFactor: 1 }],
  ])('take %s as a strategy', async (name, planning) => {
    const { config } = await loadConfig('coordinator', { env: { OPTIMIZATION_STRATEGY: name } });
    expect(config.planning).toMatchObject(planning);
  });

  it('reach the planner', async () => {
    const file = await fileOf(
      'quantum_planning: {enable_superposition: false, enable_entanglement: false, decoherence_mitigation: false, coherence_threshold: 0.6, interference_resolution: 0.3, max_entangled_tasks: 3}\nresources: {max_superpositions: 20, max_entanglements: 7, coherence_pool_size: 64}',
    );
    const { config, notices } = await loadConfig('coordinator', { file, env: {} });
    expect(config.planning).toMatchObject({
      superposition: false,
      entanglement: false,
      mitigation: false,
      coherenceThreshold: 0.6,
      interferenceResolution: 0.3,
      groups: { tasksMax: 3, groupsMax: 7 },
      superpositionsMax: 20,
      ensemblePlansMax: 64,
    });
    expect(notices).toEqual([]);
    const agent = await loadConfig('agent', { file, env: {} });
    expect(agent.notices.every(({ kind, message }) => kind === 'replaced' && message.includes('agent'))).toBe(
      true,
    );
  });
});

const noticesOf = async (text: string, env: Record<string, string> = {}) =>
  (await loadConfig('coordinator', { file: await fileOf(text), env })).notices;

describe('notices', () => {
  it('say which part will honour a key, only when it is set', async () => {
    expect(await noticesOf('liquid: {sparsity: 0.5}')).toMatchObject([
      { kind: 'later', path: 'liquid.sparsity' },
    ]);
    expect(await noticesOf('scheduler: {max_parallel_tasks: 4}')).toEqual([]);
    expect(await noticesOf('scheduler: {quantum_coherence_threshold: 0.7}')).toMatchObject([
      { kind: 'replaced' },
    ]);
    expect(await noticesOf('home: x')).toEqual([]);
    expect(await noticesOf('', { GRAFANA_URL: 'x', IONQ_API_KEY: 'secret' })).toMatchObject([
      { kind: 'later', path: 'IONQ_API_KEY' },
      { kind: 'replaced', path: 'GRAFANA_URL' },
    ]);
  });

  it('never say of a rule that deletes that it does nothing', async () => {
    const text =
      'compliance: {data_retention_days: 30, audit_retention_days: 40, enable_hipaa_logging: false}';
    const file = await fileOf(text);
    for (const { config, notices } of [
      await loadConfig('agent', { file, env: {} }),
      await loadConfig('coordinator', { file, env: {} }),
    ]) {
      expect(config.audit.retention).toEqual({ auditDays: 40, dataDays: 30, duty: false });
      expect(notices).toEqual([]);
    }
    expect(await noticesOf('compliance: {enable_gdpr_compliance: false}')).toMatchObject([
      { kind: 'replaced', path: 'compliance.enable_gdpr_compliance' },
    ]);
  });

  it('point out crossed scaling thresholds', async () => {
    const text = 'performance: {auto_scaling: {scale_up_threshold: 0.3, scale_down_threshold: 0.8}}';
    const crossed = (await noticesOf(text)).filter(({ kind }) => kind === 'adjusted');
    expect(crossed).toMatchObject([{ path: 'performance.auto_scaling' }]);
  });
});

describe('suggestions', () => {
  it.each([
    ['epsilon_per_qury', 'epsilon_per_query'],
    ['LISTEN', 'listen'],
    ['something_else', undefined],
  ])('%s means %s', (name, meant) => {
    expect(nearest(name, ['epsilon_per_query', 'listen', 'tls'])).toBe(meant);
  });
});

describe('a webhook', () => {
  it('needs a secret, unless it is on this machine', async () => {
    const webhook = (entry: string) => faultsOf(`notifications: {webhooks: [${entry}]}\n`);
    const [fault] = await webhook('{url: "https://alerts.example.org/qfl"}');
    expect(fault?.path).toBe('notifications.webhooks.0.secret_env');
    expect(await webhook('{url: "https://127.0.0.1.example.org/qfl"}')).toHaveLength(1);
    expect(await webhook('{url: "https://alerts.example.org/qfl", secret_env: HOOK}')).toEqual([]);
    for (const here of ['127.0.0.1:9', '[::1]:9', 'localhost'])
      expect(await webhook(`{url: "http://${here}/qfl"}`)).toEqual([]);
  });
});
