/**
 * Loads a program's settings: one YAML file, then the environment, which wins. Every fault is reported at once, with its key,
 * and its line in the file or its variable.
 */
import { readFile } from 'node:fs/promises';
import { isMap, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import type { z } from 'zod';
import { QflError } from '../errors.ts';
import { type AgentConfig, agentConfig, type CoordinatorConfig, coordinatorConfig } from './config.ts';
import { type ConfigPath, type Environment, type Override, readEnvironment } from './environment.ts';
import { type ConfigNotice, noticesOf } from './notices.ts';
import { AgentFile, type ConfigFile, CoordinatorFile } from './program-schema.ts';
import { rulesOf } from './rules.ts';
import { keysAt, nearest } from './suggest.ts';

export type Program = 'agent' | 'coordinator';

export interface ConfigSource {
  /** YAML file; without it QUANTUM_CONFIG_PATH names one, else defaults and environment alone. */
  readonly file?: string | undefined;
  readonly env: Environment;
}

export interface ConfigFault {
  /** Key path with dots; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  /** 1-based line in the file, when the fault stands there. */
  readonly line?: number;
  /** The environment variable it came from. */
  readonly variable?: string;
}

export interface Loaded<Config> {
  readonly config: Config;
  readonly notices: readonly ConfigNotice[];
}

interface Source {
  readonly document: Document;
  readonly lines: LineCounter;
  readonly overrides: readonly Override[];
}

const readText = async (file: string | undefined): Promise<string> => {
  if (file === undefined) return '';
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new QflError('config_invalid', {
      detail: `${file} cannot be read`,
      next: 'Give the path of a readable YAML file.',
      cause,
    });
  }
};

const samePath = (left: ConfigPath, right: readonly PropertyKey[]): boolean =>
  left.length <= right.length && left.every((part, at) => String(part) === String(right[at]));

/** Line of the key at `path`, or of the nearest parent that is in the file. */
const lineOf = ({ document, lines }: Source, path: readonly PropertyKey[]): number | undefined => {
  for (let length = path.length; length > 0; length -= 1) {
    const parent: unknown = document.getIn(path.slice(0, length - 1), true) ?? document.contents;
    const key = path[length - 1];
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key))
      : undefined;
    const node: unknown = pair?.key ?? document.getIn(path.slice(0, length), true);
    const offset = isScalar(node) || isMap(node) ? node.range?.[0] : undefined;
    if (offset !== undefined) return lines.linePos(offset).line;
  }
  return undefined;
};

const placed = (source: Source, path: readonly PropertyKey[], message: string): ConfigFault => {
  const variable = source.overrides.findLast((override) => samePath(override.path, path))?.name;
  const line = variable === undefined ? lineOf(source, path) : undefined;
  return {
    path: path.join('.'),
    message,
    ...(line === undefined ? {} : { line }),
    ...(variable === undefined ? {} : { variable }),
  };
};

const unknownKey = (
  source: Source,
  schema: z.ZodType,
  path: readonly PropertyKey[],
  key: string,
): ConfigFault => {
  const meant = nearest(key, keysAt(schema, path));
  return placed(
    source,
    [...path, key],
    `unknown key${meant === undefined ? '' : `; did you mean ${meant}?`}`,
  );
};

const faultsOf = (source: Source, schema: z.ZodType, error: z.ZodError): readonly ConfigFault[] =>
  error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => unknownKey(source, schema, issue.path, key))
      : [placed(source, issue.path, issue.message)],
  );

const textOf = ({ path, message, line, variable }: ConfigFault): string => {
  const where = variable ?? (line === undefined ? undefined : `line ${line}`);
  return `${path === '' ? '(file)' : path}${where === undefined ? '' : ` (${where})`}: ${message}`;
};

const refuse = (file: string | undefined, faults: readonly ConfigFault[]): never => {
  throw new QflError('config_invalid', {
    detail: `${file ?? 'the environment'} has ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}\n${faults
      .map((fault) => `  ${textOf(fault)}`)
      .join('\n')}`,
    next: 'Correct them and try `qfl config check FILE`.',
    facts: { faults },
  });
};

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** `tree` with the value at `path` replaced; sections that are missing are made. */
const withValue = (tree: unknown, [head, ...rest]: ConfigPath, value: unknown): unknown => {
  if (head === undefined) return value;
  const base = isRecord(tree) ? tree : {};
  return { ...base, [head]: withValue(base[String(head)], rest, value) };
};

const leafPaths = (value: unknown, path: ConfigPath = []): readonly ConfigPath[] =>
  isRecord(value)
    ? Object.entries(value).flatMap(([key, member]) => leafPaths(member, [...path, key]))
    : [path];

const load = async <File extends ConfigFile>(
  program: Program,
  schema: z.ZodType<File>,
  { file, env }: ConfigSource,
): Promise<{ readonly file: File; readonly notices: readonly ConfigNotice[] }> => {
  const where = file ?? (env['QUANTUM_CONFIG_PATH'] || undefined);
  const lines = new LineCounter();
  const document = parseDocument(await readText(where), { lineCounter: lines, prettyErrors: false });
  const { overrides, faults: environmentFaults } = readEnvironment(program, env);
  const source: Source = { document, lines, overrides };
  const syntax = document.errors.map(({ message, pos }) => ({
    path: '',
    message,
    line: lines.linePos(pos[0]).line,
  }));
  if (syntax.length > 0) return refuse(where, syntax);
  const inFile: unknown = document.toJS() ?? {};
  let tree = inFile;
  for (const { path, value } of overrides) tree = withValue(tree, path, value);
  const fromEnvironment = environmentFaults.map(({ name, path, message }) => ({
    path: path.join('.'),
    message,
    variable: name,
  }));
  const parsed = schema.safeParse(isRecord(inFile) ? tree : inFile);
  const broken = parsed.success
    ? rulesOf(parsed.data).map(({ path, message }) => placed(source, path, message))
    : faultsOf(source, schema, parsed.error);
  if (!parsed.success || broken.length + fromEnvironment.length > 0) {
    return refuse(where, [...broken, ...fromEnvironment]);
  }
  return { file: parsed.data, notices: noticesOf(parsed.data, isRecord(tree) ? leafPaths(tree) : [], env) };
};

export const loadCoordinatorConfig = async (source: ConfigSource): Promise<Loaded<CoordinatorConfig>> => {
  const { file, notices } = await load('coordinator', CoordinatorFile, source);
  return { config: coordinatorConfig(file), notices };
};

export const loadAgentConfig = async (source: ConfigSource): Promise<Loaded<AgentConfig>> => {
  const { file, notices } = await load('agent', AgentFile, source);
  return { config: agentConfig(file), notices };
};

/**
 * The settings of `program`, frozen, and what the operator should know about keys that do less than they say.
 * @throws QflError `config_invalid`: all faults in its text and in `facts.faults` (`ConfigFault[]`)
 */
export function loadConfig(program: 'coordinator', source: ConfigSource): Promise<Loaded<CoordinatorConfig>>;
export function loadConfig(program: 'agent', source: ConfigSource): Promise<Loaded<AgentConfig>>;
export function loadConfig(
  program: Program,
  source: ConfigSource,
): Promise<Loaded<CoordinatorConfig> | Loaded<AgentConfig>> {
  return program === 'agent' ? loadAgentConfig(source) : loadCoordinatorConfig(source);
}

const AGENT_ONLY = ['coordinator', 'llm'];

/**
 * `qfl config check`: reads a file as the program it is for (an agent's has `coordinator` or `llm`) without any environment.
 * @throws QflError `config_invalid`
 */
export const checkConfig = async (
  file: string,
): Promise<{ readonly program: Program; readonly notices: readonly ConfigNotice[] }> => {
  const document = parseDocument(await readText(file));
  const program = AGENT_ONLY.some((key) => document.contents !== null && document.has(key))
    ? 'agent'
    : 'coordinator';
  const source = { file, env: {} };
  const { notices } = await (program === 'agent' ? loadAgentConfig(source) : loadCoordinatorConfig(source));
  return { program, notices };
};
