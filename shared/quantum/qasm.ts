/**
 * OpenQASM 3 for the gates of `circuit.ts` (Cross et al. 2022, "OpenQASM 3"; openqasm.com). Written with `stdgates.inc` only: `rzz` goes out
 * as cx·rz·cx, its definition. Read: one qubit register, the gates, `barrier`, and a final measurement of everything.
 */
import { QflError } from '../errors.ts';
import { type Circuit, createCircuit, type Gate, GATE_SHAPES, gate, type GateName } from './circuit.ts';

/** Every number as it reads back: minus zero too, which joins as 0 otherwise. */
const angleText = (angle: number): string => (Object.is(angle, -0) ? '-0' : String(angle));

const gateLines = ({ name, qubits, angles }: Gate): string[] => {
  if (name === 'rzz') {
    const [a = 0, b = 0] = qubits;
    return [gate('cx', [a, b]), gate('rz', [b], ...angles), gate('cx', [a, b])].flatMap(gateLines);
  }
  const spelled = name === 'u' ? 'U' : name;
  const given = angles.length === 0 ? '' : `(${angles.map(angleText).join(', ')})`;
  return [`${spelled}${given} ${qubits.map((qubit) => `q[${qubit}]`).join(', ')};`];
};

/** The circuit, then all qubits measured: bit k of `c` is qubit k. */
export const toQasm = ({ qubits, gates }: Circuit): string =>
  [
    'OPENQASM 3.0;',
    'include "stdgates.inc";',
    `qubit[${qubits}] q;`,
    `bit[${qubits}] c;`,
    ...gates.flatMap(gateLines),
    'c = measure q;',
    '',
  ].join('\n');

const SOURCE_CHARACTERS_MAX = 1_000_000;

const refuse = (line: number, detail: string): never => {
  throw new QflError('invalid_request', {
    detail: `OpenQASM line ${line}: ${detail}`,
    next: 'Only one qubit register, the gates of stdgates.inc that this program knows, and a final "c = measure q;" are read.',
  });
};

/** + − * / ( ) pi and numbers, by recursive descent. */
const angleOf = (text: string, line: number): number => {
  const tokens = text.match(/\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|pi|π|[-+*/()]|\S/g) ?? [];
  let at = 0;
  const atom = (): number => {
    const token = tokens[at];
    at += 1;
    if (token === '-') return -atom();
    if (token === '+') return atom();
    if (token === 'pi' || token === 'π') return Math.PI;
    if (token === '(') {
      const value = sum();
      if (tokens[at] !== ')') refuse(line, 'a bracket is not closed');
      at += 1;
      return value;
    }
    const value = Number(token);
    return token === undefined || Number.isNaN(value) ? refuse(line, 'an angle does not read') : value;
  };
  const product = (): number => {
    let value = atom();
    while (tokens[at] === '*' || tokens[at] === '/') {
      at += 1;
      value = tokens[at - 1] === '*' ? value * atom() : value / atom();
    }
    return value;
  };
  const sum = (): number => {
    let value = product();
    while (tokens[at] === '+' || tokens[at] === '-') {
      at += 1;
      value = tokens[at - 1] === '+' ? value + product() : value - product();
    }
    return value;
  };
  const value = sum();
  return at === tokens.length ? value : refuse(line, 'an angle does not read');
};

/** Splits at commas outside brackets. */
const commaParts = (text: string): string[] => {
  const parts = [''];
  let depth = 0;
  for (const letter of text) {
    if (letter === '(') depth += 1;
    if (letter === ')') depth -= 1;
    if (letter === ',' && depth === 0) parts.push('');
    else parts[parts.length - 1] += letter;
  }
  return parts.map((part) => part.trim());
};

interface Statement {
  readonly text: string;
  readonly line: number;
}

/** Statements without comments, each with the line on which it begins. */
const statementsOf = (source: string): Statement[] => {
  const plain = source
    .replaceAll(/\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, ' '))
    .replaceAll(/\/\/[^\n]*/g, '');
  const statements: Statement[] = [];
  let line = 1;
  for (const piece of plain.split(';')) {
    const lead = /^\s*/.exec(piece)?.[0] ?? '';
    const text = piece.trim();
    if (text !== '') statements.push({ text, line: line + (lead.match(/\n/g)?.length ?? 0) });
    line += piece.match(/\n/g)?.length ?? 0;
  }
  return statements;
};

const OPERATION = /^([A-Za-z_]\w*)\s*(?:\(([^;]*)\))?\s+([^()]+)$/;
const isGateName = (name: string): name is GateName => Object.hasOwn(GATE_SHAPES, name);
const ALIASES: Readonly<Record<string, GateName>> = { U: 'u', u3: 'u', CX: 'cx', cphase: 'cp', phase: 'p' };

interface Register {
  readonly name: string;
  readonly size: number;
}

const operandsOf = (text: string, { name, size }: Register, line: number): number[] =>
  commaParts(text).map((operand) => {
    const match = /^([A-Za-z_]\w*)\s*\[\s*(\d+)\s*\]$/.exec(operand);
    const index = Number(match?.[2]);
    if (match?.[1] !== name || !(index < size))
      return refuse(line, `no qubit is called ${operand.slice(0, 40)}`);
    return index;
  });

const readGate = ({ text, line }: Statement, register: Register): Gate => {
  const match = OPERATION.exec(text);
  const word = match?.[1] ?? '';
  const name = ALIASES[word] ?? word;
  if (match === null || !isGateName(name)) return refuse(line, 'this statement or gate is not known');
  const angles = match[2] === undefined ? [] : commaParts(match[2]).map((part) => angleOf(part, line));
  const made = gate(name, operandsOf(match[3] ?? '', register, line), ...angles);
  const expected = GATE_SHAPES[name];
  if (made.qubits.length !== expected.qubits || angles.length !== expected.angles)
    refuse(line, `${name} takes ${expected.qubits} qubits and ${expected.angles} angles`);
  return made;
};

const SKIPPED = /^(OPENQASM\s|include\s|bit\s*\[|bit\s|barrier\b)/;
const MEASURE = /^[A-Za-z_]\w*\s*=\s*measure\s|^measure\s/;

/** @throws QflError `invalid_request` with the line */
export const fromQasm = (source: string): Circuit => {
  if (source.length > SOURCE_CHARACTERS_MAX) refuse(1, 'the program is longer than a million characters');
  let register: Register | undefined;
  let measured = false;
  const gates: Gate[] = [];
  for (const statement of statementsOf(source)) {
    const declared = /^qubit\s*\[\s*(\d+)\s*\]\s*([A-Za-z_]\w*)$/.exec(statement.text);
    if (declared !== null) {
      if (register !== undefined) refuse(statement.line, 'there is more than one qubit register');
      register = { name: declared[2] ?? '', size: Number(declared[1]) };
    } else if (MEASURE.test(statement.text)) measured = true;
    else if (!SKIPPED.test(statement.text)) {
      if (register === undefined) return refuse(statement.line, 'a gate stands before the qubit register');
      if (measured) refuse(statement.line, 'a gate stands after the measurement');
      gates.push(readGate(statement, register));
    }
  }
  if (register === undefined) return refuse(1, 'there is no qubit register');
  return createCircuit(register.size, gates);
};
